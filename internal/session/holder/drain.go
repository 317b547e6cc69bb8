//go:build linux

package holder

import (
	"errors"

	"golang.org/x/sys/unix"

	"keyway/internal/session/wire"
)

// drainBuffer is how much of the job's output is taken at a time: a pipe's
// default capacity. A terminal hands out 4 KiB at most.
const drainBuffer = 64 << 10

// drain reads one output to its end, or to the deadline that outlive sets, and
// then what is left without waiting. It reads once and then waits to be told that
// there is more: a terminal is refilled meanwhile, and a job that prints without
// pause is slowed down by one who asks for more at once (a progress bar to 0.9 of
// a terminal that is read and thrown away; docs/BENCHMARKS.md).
func (h *holder) drain(s source) {
	raw, err := s.f.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, drainBuffer)
	for over := false; !over; {
		h.output.room()
		err := raw.Read(func(fd uintptr) (done bool) {
			n, err := h.take(s.stream, int(fd), buf)
			over = n == 0 && !errors.Is(err, unix.EAGAIN)
			return over || n > 0
		})
		if err != nil {
			break
		}
	}
	// As much as can have been in a pipe when the job ended: a process that it left
	// behind may be printing for ever.
	const most = 1 << 20
	_ = raw.Control(func(fd uintptr) {
		for total, n := 0, 1; n > 0 && total < most; total += n {
			n, _ = h.take(s.stream, int(fd), buf)
		}
	})
}

// take puts to the output what one read finds. The end is 0 without an error, or EIO
// of a terminal that nobody has open.
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
