package near

import (
	"fmt"
	"net"
	"syscall"
	"testing"
)

func TestUnreached(t *testing.T) {
	for _, c := range []struct {
		host string
		port uint32
		path bool
		err  error
		want string
	}{
		{"::1", 80, false, &net.OpError{Err: syscall.ECONNREFUSED}, "connect_to ::1 port 80: failed."},
		{"x", 80, false, fmt.Errorf("dial: %w", &net.DNSError{IsNotFound: true}), "connect_to x: unknown host (Name or service not known)"},
		{"x", 80, false, &net.DNSError{}, "connect_to x: unknown host (Temporary failure in name resolution)"},
		{"/s", 0, true, &net.OpError{Err: syscall.ENOENT}, "connect to /s port -2 failed: No such file or directory"},
	} {
		if got := Unreached(c.host, c.port, c.path, c.err); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}

func TestListen(t *testing.T) {
	for _, port := range []uint32{0, 65536} {
		if _, err := Listen("", port); err == nil {
			t.Errorf("it listens at port %d", port)
		}
	}
}
