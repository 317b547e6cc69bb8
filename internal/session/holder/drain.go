//go:build linux

package holder

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/pipe"
	"keyway/internal/session/wire"
)

// drainBuffer is the size of one read of the job's output, in bytes. A terminal returns 4 KiB at
// most.
const drainBuffer = 64 << 10

// drain reads one output to its end or until it is cut off. In the latter case it then reads the
// rest without waiting.
func (h *holder) drain(s source) {
	buf := make([]byte, drainBuffer)
	read := func(fd int) (n int, err error) { return h.take(s.stream, fd, buf) }
	if s.poller != nil {
		h.drainPipe(s, read)
	} else {
		h.drainTerminal(s, read)
	}
	// At most as much as a pipe can have held when the job ended: a process that the job left
	// behind may print for ever.
	const most = 1 << 20
	control(s.f, func(fd int) {
		for total, n := 0, 1; n > 0 && total < most; total += n {
			n, _ = read(fd)
		}
	})
}

// drainTerminal reads once and then waits for the next event. Meanwhile the terminal is refilled. A
// reader that asks again at once slows down a job that prints without pause: to 0.9 of the rate at
// which a terminal's output is read and discarded (docs/BENCHMARKS.md measures a progress bar).
func (h *holder) drainTerminal(s source, read func(fd int) (int, error)) {
	raw, err := s.f.SyscallConn()
	for over := false; err == nil && !over; {
		h.output.room()
		err = raw.Read(func(fd uintptr) (done bool) {
			n, err := read(int(fd))
			over = n == 0 && !errors.Is(err, unix.EAGAIN)
			return over || n > 0
		})
	}
}

// A job that prints much fills a wide pipe faster than its holder can be woken for each piece.
// After a read of much, but less than the buffer holds, the pipe is left alone for a moment. A pipe
// that is not wide would fill up in that time.
const (
	muchPrinted = 4 << 10
	moment      = time.Millisecond
)

// drainPipe reads everything available, and waits for more.
func (h *holder) drainPipe(s source, read func(fd int) (int, error)) {
	wide := false
	control(s.f, func(fd int) {
		size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
		wide = err == nil && size >= pipe.Wide
	})
	for {
		h.output.room()
		n, err := 0, error(nil)
		control(s.f, func(fd int) { n, err = read(fd) })
		switch {
		case n == 0 && (!errors.Is(err, unix.EAGAIN) || !s.poller.wait(s.f)):
			return
		case wide && muchPrinted <= n && n < drainBuffer:
			time.Sleep(moment)
		}
		if s.poller.cut.Load() {
			return
		}
	}
}

// take appends the result of one read to the output. At the end it returns 0 without an error, or
// EIO from a terminal that no process has open.
func (h *holder) take(s wire.Stream, fd int, buf []byte) (n int, err error) {
	h.gate.RLock()
	defer h.gate.RUnlock()
	for err = unix.EINTR; err == unix.EINTR; {
		n, err = unix.Read(fd, buf)
	}
	if n <= 0 {
		return 0, err
	}
	h.output.append(s, buf[:n])
	return n, nil
}
