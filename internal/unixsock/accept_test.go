package unixsock

import (
	"errors"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
)

// script is a listener with the errors of its accepts; nil: a connection.
type script struct {
	net.Listener
	errs []error
}

func (s *script) Accept() (net.Conn, error) {
	err := s.errs[0]
	s.errs = s.errs[1:]
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "unix", Err: os.NewSyscallError("accept4", err)}
	}
	return &net.UnixConn{}, nil
}

// TestAcceptEach checks that the loop waits after a temporary error, and ends after any other.
func TestAcceptEach(t *testing.T) {
	for _, last := range []error{net.ErrClosed, syscall.EINVAL, syscall.EBADF, os.ErrDeadlineExceeded} {
		errs := []error{nil, syscall.EMFILE, nil, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPERM, nil, last, nil}
		want := len(slices.DeleteFunc(slices.Clone(errs[:len(errs)-1]), func(err error) bool { return err != nil }))
		got := 0
		s := &script{errs: errs}
		if err := AcceptEach(s, func(net.Conn) { got++ }); !errors.Is(err, last) || got != want || len(s.errs) != 1 {
			t.Errorf("%v: %d connections, %v", last, got, err)
		}
	}
}
