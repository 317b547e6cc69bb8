//go:build linux

package holder

import (
	"errors"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"keyway/internal/session/wire"
)

// poller waits for a pipe in place of the runtime's poller, which would wake up for each piece that
// the job writes, even while no goroutine reads.
type poller struct {
	cut  atomic.Bool // do not wait any more
	news *os.File    // an eventfd that is readable once cut is set
}

// openPipe makes a pipe for a job's output.
func openPipe(s wire.Stream) (source, *os.File, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return source{}, nil, err
	}
	w := os.NewFile(uintptr(ends[1]), "output")
	r, err := newPipe(s, ends[0])
	if err != nil {
		w.Close()
	}
	return r, w, err
}

// newPipe takes over the reading end of a pipe.
func newPipe(s wire.Stream, fd int) (source, error) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(fd)
		return source{}, err
	}
	_ = unix.SetNonblock(fd, false) // os.NewFile gives a non-blocking one to the runtime's poller
	f := os.NewFile(uintptr(fd), "output")
	_ = unix.SetNonblock(fd, true)
	return source{stream: s, f: f, poller: &poller{news: os.NewFile(uintptr(event), "cut")}}, nil
}

// wait waits until f can be read or is cut off. It reports whether it can wait.
func (p *poller) wait(f *os.File) (can bool) {
	control(p.news, func(news int) {
		control(f, func(fd int) {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(news), Events: unix.POLLIN}}, -1)
			can = err == nil || errors.Is(err, unix.EINTR)
		})
	})
	return can
}

// cutOff ends the output after the bytes that are in the pipe already.
func (p *poller) cutOff() {
	if !p.cut.Swap(true) {
		control(p.news, func(fd int) { _, _ = unix.Write(fd, []byte{7: 1}) })
	}
}
