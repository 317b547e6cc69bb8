package pipe

import (
	"errors"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// WriteBuffers writes all buffers, with one system call if the pipe has room: separate writes would
// wake the reader for each.
func (p *Pair) WriteBuffers(bufs net.Buffers) (total int64, err error) {
	raw, err := p.Out.SyscallConn()
	for err == nil && len(bufs) > 0 {
		var n int
		var wrote error
		err = raw.Write(func(fd uintptr) bool {
			n, wrote = unix.Writev(int(fd), bufs)
			return !errors.Is(wrote, unix.EAGAIN)
		})
		if wrote != nil && !errors.Is(wrote, unix.EINTR) && err == nil {
			err = wrote
		}
		total += int64(max(n, 0))
		for n = max(n, 0); len(bufs) > 0 && n >= len(bufs[0]); bufs = bufs[1:] {
			n -= len(bufs[0])
		}
		if n > 0 {
			bufs[0] = bufs[0][n:]
		}
	}
	return total, err
}

// maxVector is the number of buffers that WriteAtOnce writes.
const maxVector = 16

// WriteAtOnce writes what the pipe has room for, without waiting, and returns the number of bytes.
// Errors are left to the next Write. The kernel is told not to wait, whatever the mode of the pipe,
// so Go's scheduler need not prepare for a wait: for a long write it would start another thread.
func (p *Pair) WriteAtOnce(bufs net.Buffers) (n int) {
	raw, err := p.Out.SyscallConn()
	if err != nil {
		return 0
	}
	var vector [maxVector]unix.Iovec
	count := 0
	for _, b := range bufs[:min(len(bufs), maxVector)] {
		if len(b) > 0 {
			vector[count].Base = &b[0]
			vector[count].SetLen(len(b))
			count++
		}
	}
	_ = raw.Write(func(fd uintptr) bool {
		r, _, errno := unix.RawSyscall6(unix.SYS_PWRITEV2, fd, uintptr(unsafe.Pointer(&vector[0])), uintptr(count), ^uintptr(0), ^uintptr(0), unix.RWF_NOWAIT)
		if errno == 0 {
			n = int(r)
		}
		return true
	})
	return n
}
