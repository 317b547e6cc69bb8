//go:build linux

package guest

import (
	"net"
	"strconv"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestRemoteForwardIsOnLoopback checks that a forwarding from the workspace listens only on the
// workspace's loopback addresses, whatever address the client names. A client may not open a port
// to the machine's network.
func TestRemoteForwardIsOnLoopback(t *testing.T) {
	p := serveInProcess(t, here(t))
	c := p.client(t)
	for _, host := range []string{"", "*", "0.0.0.0", "::", "192.0.2.1", "localhost", "127.0.0.1"} {
		ok, reply, err := c.SendRequest("tcpip-forward", true, ssh.Marshal(tcpipForward{Host: host}))
		if err != nil || !ok {
			t.Errorf("%q: %v, %v", host, ok, err)
			continue
		}
		answer, err := decode[tcpipForwardReply](reply)
		must(t, err)
		port := strconv.Itoa(int(answer.Port))
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			t.Errorf("%q is not on the loopback: %v", host, err)
			continue
		}
		conn.Close()
		if conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.2", port)); err == nil {
			conn.Close()
			t.Errorf("%q: it can be reached by another address of the machine", host)
		}
	}
}
