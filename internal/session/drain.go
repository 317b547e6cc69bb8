//go:build linux

package session

import (
	"sync"
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
	k := keeper{holder: h, stream: s.stream}
	buf := make([]byte, drainBuffer)
	for over := false; !over; {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			h.gate.RLock()
			if n, over = readAll(int(fd), buf); n == len(buf) {
				buf = k.hand(buf)
			} else {
				k.keep(buf[:n])
			}
			return over || n > 0
		})
		if err != nil {
			break
		}
	}
	k.stop()
	// As much as can have been in a pipe when the job ended: a process that it left
	// behind may be printing for ever.
	const most = 1 << 20
	_ = raw.Control(func(fd uintptr) {
		for total, n := 0, 1; n > 0 && total < most; total += n {
			h.gate.RLock()
			n, _ = readAll(int(fd), buf)
			k.keep(buf[:n])
		}
	})
}

// keeper puts on the tape what was taken from the job, and then lets go of the gate
// that whoever took it holds. In a flood it does so while more is read: a terminal
// has 4 KiB at a time and refills when they are read, so that whatever is done
// between two reads slows the job down.
type keeper struct {
	holder  *holder
	stream  stream
	full    chan []byte // to the goroutine that keeps; nil: there is none
	free    chan []byte // what it is done with
	keeping sync.WaitGroup
}

// keep takes what is less than a flood.
func (k *keeper) keep(p []byte) {
	if k.full != nil { // what was before comes first
		k.free <- <-k.free
	}
	k.take(p)
}

// hand takes a full buffer, and returns one to go on with.
func (k *keeper) hand(p []byte) (next []byte) {
	if k.full == nil {
		k.full, k.free = make(chan []byte), make(chan []byte, 1)
		k.free <- make([]byte, len(p))
		k.keeping.Go(func() {
			for p := range k.full {
				k.take(p)
				k.free <- p
			}
		})
	}
	k.full <- p
	return <-k.free
}

func (k *keeper) take(p []byte) {
	defer k.holder.gate.RUnlock()
	if len(p) > 0 {
		k.holder.tape.append(k.stream, p)
	}
}

// stop returns when all is kept.
func (k *keeper) stop() {
	if k.full != nil {
		close(k.full)
		k.keeping.Wait()
		k.full = nil
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
