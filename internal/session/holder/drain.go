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

// mostRest bounds the bytes that are read after the output was cut off: about as much as the pipes
// can have held. A process that the job left behind may print for ever.
const mostRest = 2 << 20

// drain reads the job's output to its end or until it is cut off. In the latter case it then reads
// the rest without waiting.
func (h *holder) drain() {
	buf := make([]byte, drainBuffer)
	if h.job.poller != nil {
		h.drainPipes(buf)
		return
	}
	s := h.job.outs[0]
	read := func(fd int) (n int, err error) { return h.take(s.stream, fd, buf) }
	h.drainTerminal(s, read)
	control(s.f, func(fd int) {
		for total, n := 0, 1; n > 0 && total < mostRest; total += n {
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

// drainPipes reads the pipes in the order in which they got output, one piece at a time.
func (h *holder) drainPipes(buf []byte) {
	p, open, rest := h.job.poller, len(h.job.outs), 0
	for open > 0 && rest < mostRest {
		i := p.next()
		if i < 0 {
			return
		}
		if !p.cut {
			h.output.room()
		}
		s, again := h.job.outs[i], unix.EPOLL_CTL_MOD
		n, err := h.take(s.stream, s.fd, buf)
		switch {
		case n == 0 && !errors.Is(err, unix.EAGAIN):
			open--
			continue
		case p.cut:
			rest += n
		case muchPrinted <= n && n < drainBuffer && isWide(s.fd):
			// Each piece that is written to a watched pipe costs the job time, even if nobody waits.
			p.watch(unix.EPOLL_CTL_DEL, s.fd, i)
			time.Sleep(moment)
			again = unix.EPOLL_CTL_ADD
		}
		p.watch(again, s.fd, i)
	}
}

func isWide(fd int) bool {
	size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	return err == nil && size >= pipe.Wide
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
