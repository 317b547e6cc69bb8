//go:build linux

package holder

import (
	"os"

	"golang.org/x/sys/unix"

	"keyway/internal/session/wire"
)

// poller returns which of a job's pipes to read next: the one that has had output for longest. The
// kernel keeps that order in an epoll's list of ready files. Pipes carry no times, so nothing else
// tells whether a line of stdout or of stderr was first.
//
// The runtime's poller would wake up for each piece that the job writes, even while no goroutine
// reads.
type poller struct {
	epoll int
	news  int  // an eventfd that is readable once the output is cut off
	cut   bool // news was read
}

// cutEvent stands for news, as the index of a pipe stands for the pipe.
const cutEvent = -1

// newPoller makes a poller of a job's pipes.
func newPoller(outs []source) (p *poller, err error) {
	p = &poller{}
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if p.news, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		unix.Close(p.epoll)
		return nil, err
	}
	p.watch(unix.EPOLL_CTL_ADD, p.news, cutEvent)
	for i, s := range outs {
		p.watch(unix.EPOLL_CTL_ADD, s.fd, i)
	}
	return p, nil
}

// watch asks for one event of a descriptor. One that can be read already goes to the end of the list.
func (p *poller) watch(op, fd, event int) {
	_ = unix.EpollCtl(p.epoll, op, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(event)})
}

// next waits until a pipe can be read, and returns its index. Once the output is cut off, it does
// not wait, and returns -1 when no pipe has anything.
func (p *poller) next() int {
	var events [1]unix.EpollEvent
	for timeout := -1; ; {
		if p.cut {
			timeout = 0
		}
		n, err := unix.EpollWait(p.epoll, events[:], timeout)
		switch event := int(events[0].Fd); {
		case err == unix.EINTR:
		case n <= 0:
			return -1
		case event >= 0:
			return event
		default:
			p.cut = true
		}
	}
}

// cutOff ends the output after the bytes that are in the pipes already.
func (p *poller) cutOff() { _, _ = unix.Write(p.news, []byte{7: 1}) }

// openPipe makes a pipe for a job's output.
func openPipe(s wire.Stream) (source, *os.File, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return source{}, nil, err
	}
	return newPipe(s, ends[0]), os.NewFile(uintptr(ends[1]), "output"), nil
}

// newPipe takes over the reading end of a pipe.
func newPipe(s wire.Stream, fd int) source {
	_ = unix.SetNonblock(fd, false) // os.NewFile gives a non-blocking one to the runtime's poller
	f := os.NewFile(uintptr(fd), "output")
	_ = unix.SetNonblock(fd, true)
	return source{stream: s, f: f, fd: fd}
}
