// Package near listens and connects on the side of a user's ssh, as ssh does.
package near

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

var errNoPort = errors.New("no such port")

// Listen listens as ssh does: on the loopback addresses for an empty host, and on all for *.
func Listen(host string, port uint32) (listeners []net.Listener, first error) {
	addresses := []string{host}
	switch host {
	case "", "localhost":
		addresses = []string{"127.0.0.1", "::1"}
	case "*":
		addresses = []string{""}
	}
	if port == 0 || port > 65535 {
		return nil, errNoPort
	}
	for _, a := range addresses {
		l, err := net.Listen("tcp", net.JoinHostPort(a, strconv.FormatUint(uint64(port), 10)))
		if err == nil {
			listeners = append(listeners, l)
		} else if first == nil {
			first = err
		}
	}
	if len(listeners) == 0 {
		return nil, first
	}
	return listeners, nil
}

// ListenAt listens at an unused path, only for the user.
func ListenAt(path string) ([]net.Listener, error) {
	// Nobody can connect between bind and chmod: until then, the socket is in a directory that
	// others cannot enter.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".keyway-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // as with ssh
	err = os.Chmod(made, 0o600)
	if err == nil {
		err = os.Link(made, path) // does not replace anything
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return []net.Listener{l}, nil
}

// Unreached returns OpenSSH's message about a target that cannot be reached: a socket at the path
// host, or a port.
func Unreached(host string, port uint32, path bool, err error) string {
	var unknown *net.DNSError
	var number syscall.Errno
	switch {
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return fmt.Sprintf("connect_to %s: unknown host (Name or service not known)", host)
	case errors.As(err, &unknown):
		return fmt.Sprintf("connect_to %s: unknown host (Temporary failure in name resolution)", host)
	case path && errors.As(err, &number):
		text := number.Error()
		return fmt.Sprintf("connect to %s port -2 failed: %s", host, strings.ToUpper(text[:1])+text[1:])
	}
	return fmt.Sprintf("connect_to %s port %d: failed.", host, port)
}
