//go:build linux

package session

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// drainBuffer is how much of the job's output is taken at a time: a pipe's
// default capacity. A terminal hands out 4 KiB at most, so several reads go into
// one buffer as long as there is more.
const drainBuffer = 64 << 10

// drain reads one output to its end, or to the deadline that outlive sets, and
// then what is left without waiting.
func (h *holder) drain(s source) {
	raw, err := s.f.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, drainBuffer)
	for over := false; !over; {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			h.gate.RLock()
			defer h.gate.RUnlock()
			n, over = readAll(int(fd), buf)
			h.keep(s, buf[:n])
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
			n, _ = readAll(int(fd), buf)
			h.keep(s, buf[:n])
		}
	})
}

func (h *holder) keep(s source, p []byte) {
	if len(p) > 0 {
		h.tape.append(s.stream, p)
	}
}

// A terminal hands out 4 KiB at a time, and has the next a moment later. While a job
// prints as much as that, it is worth to wait for more: every piece is written to
// the log and shown, and few large ones cost far less than many small ones.
const (
	busyPiece = 2 << 10
	busyNanos = 1_000_000
)

// readAll fills buf with what there is. over says that no more will come.
func readAll(fd int, buf []byte) (n int, over bool) {
	for n < len(buf) {
		got, err := rawRead(fd, buf[n:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			// Asked only now: a read waits for what the kernel is passing on just then, so
			// that it hardly ever comes to this.
			if n < busyPiece || !comes(fd) {
				return n, false
			}
		case err != 0 || got <= 0: // EOF; of a terminal that nobody has open EIO
			return n, true
		default:
			n += got
		}
	}
	return n, false
}

// comes waits a moment for more. This and rawRead do not tell the runtime that they
// are system calls, as they are short: it would wake up again and again in a flood to
// see whether one of them takes long.
func comes(fd int) bool {
	fds := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	wait := unix.NsecToTimespec(busyNanos)
	ready, _, err := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), 1, uintptr(unsafe.Pointer(&wait)), 0, 0, 0)
	return err != 0 || ready > 0
}

func rawRead(fd int, p []byte) (int, syscall.Errno) {
	n, _, err := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), err
}
