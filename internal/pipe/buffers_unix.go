//go:build unix

package pipe

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// WriteBuffers writes bufs by as few calls as the system allows, and leaves in it what was
// not written.
func (p *Pair) WriteBuffers(bufs *net.Buffers) (total int64, err error) {
	raw, err := p.Out.SyscallConn()
	if err != nil {
		return 0, err
	}
	waited := raw.Write(func(fd uintptr) bool {
		for len(*bufs) > 0 && err == nil {
			var n int
			n, err = unix.Writev(int(fd), *bufs)
			if n >= 0 {
				total += int64(n)
				consume(bufs, n)
			}
			if errors.Is(err, unix.EINTR) {
				err = nil
			}
		}
		again := errors.Is(err, unix.EAGAIN)
		if again {
			err = nil
		}
		return !again
	})
	if err == nil {
		err = waited
	}
	return total, err
}

// consume removes the first n bytes, and buffers of which nothing is left.
func consume(bufs *net.Buffers, n int) {
	for len(*bufs) > 0 {
		first := (*bufs)[0]
		if n < len(first) {
			(*bufs)[0] = first[n:]
			return
		}
		n -= len(first)
		*bufs = (*bufs)[1:]
	}
}
