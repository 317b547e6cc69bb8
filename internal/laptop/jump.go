package laptop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"keyway/internal/sshconfig"
)

const (
	// jumpTime bounds how long a jump host may take to say its version.
	jumpTime = 2 * time.Second
	// maxBanner bounds the bytes that are read of it. Lines may come before the version (RFC 4253,
	// section 4.2).
	maxBanner = 4 << 10
)

// firstPrompt is the first OpenSSH that sends relayed bytes at once. Before it, a jump host's TCP
// keeps a second small segment until the first is acknowledged.
var firstPrompt = [2]int{10, 1}

// SlowJump returns a sentence if the first hop is a jump host whose sshd holds small packets
// back. It returns "" if it is not, or if its version cannot be seen.
func SlowJump(ctx context.Context, hops []sshconfig.Host) string {
	if len(hops) < 2 || hops[0].ProxyCommand != "" || len(hops[0].ProxyJump) > 0 {
		return "" // it cannot be reached but by ssh
	}
	version, ok := serverVersion(ctx, net.JoinHostPort(hops[0].HostName, hops[0].Port))
	if !ok || version[0] > firstPrompt[0] || version[0] == firstPrompt[0] && version[1] >= firstPrompt[1] {
		return ""
	}
	return fmt.Sprintf("%s runs OpenSSH %d.%d, which keeps small packets back while one is under way; OpenSSH %d.%d does not",
		hops[0].Name, version[0], version[1], firstPrompt[0], firstPrompt[1])
}

// serverVersion returns the version of the sshd at address, if it is OpenSSH's.
func serverVersion(ctx context.Context, address string) (version [2]int, ok bool) {
	d := net.Dialer{Timeout: jumpTime}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return version, false
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(jumpTime))
	lines := bufio.NewScanner(io.LimitReader(conn, maxBanner))
	for lines.Scan() {
		if said, is := strings.CutPrefix(lines.Text(), "SSH-2.0-"); is {
			return clientVersion(said)
		}
	}
	return version, false
}
