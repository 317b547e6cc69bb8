package unixsock

import (
	"errors"
	"net"
	"slices"
	"syscall"
	"time"
)

// acceptPause is the pause before Accept tries again.
const acceptPause = 50 * time.Millisecond

// passing are the errors of accept(2) that are of this moment, or of one connection.
var passing = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED,
	syscall.EPROTO, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.EPERM,
}

// Passing reports whether accepting may work again after err: the process or the system
// has no descriptor or memory for the connection now, its peer has gone already, or the
// network or a firewall has refused it. A server that gives up there ends for all of its
// clients.
func Passing(err error) bool {
	return slices.ContainsFunc(passing, func(e syscall.Errno) bool { return errors.Is(err, e) })
}

// AcceptEach hands every connection of l to serve until l is closed or broken, and
// returns why.
func AcceptEach(l net.Listener, serve func(net.Conn)) error {
	for {
		conn, err := l.Accept()
		if err == nil {
			serve(conn)
			continue
		}
		if !Passing(err) {
			return err
		}
		time.Sleep(acceptPause)
	}
}
