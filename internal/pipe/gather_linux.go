package pipe

import (
	"errors"
	"net"

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
