package hold

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// Quiet returns a Conn of a client's connection on a unix socket, and closes that. The poller watches it for
// arriving bytes all the time, and for room only while Write waits: otherwise it would wake this process
// each time that the client has read something. One goroutine may read, another write.
func Quiet(c net.Conn) (*Conn, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil, errNoDescriptor
	}
	p, err := park(s)
	if err != nil {
		return nil, err
	}
	if p.in, err = arrivals(p.fd); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	_ = c.Close() // the copy of its descriptor stays open
	return p, nil
}

// arrivals returns a file that can be read when bytes have arrived on a connection.
func arrivals(fd int) (*os.File, error) {
	poll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP}
	if err = syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, fd, &event); err == nil {
		err = syscall.SetNonblock(poll, true) // Go's poller watches such a file
	}
	if err != nil {
		_ = syscall.Close(poll)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return os.NewFile(uintptr(poll), "arrivals"), nil
}
