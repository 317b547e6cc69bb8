//go:build unix

package stream

import (
	"errors"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Fill writes to c what from has, without a copy in between, until one of them takes or
// gives no more, or a deadline of either passes. It reports whether it was from that has
// ended. Nothing that was read is lost. from must not block.
func Fill(c *Conn, from syscall.RawConn) (ended bool) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	f := filling{to: c, from: from}
	for {
		switch err := f.once(); {
		case errors.Is(err, errFull):
			if c.out.wait(c.done) != nil {
				return false
			}
		case f.ended:
			return true
		case err != nil:
			return false
		}
	}
}

// filling is a Fill under way.
type filling struct {
	to    *Conn
	from  syscall.RawConn
	much  bool // the last read has found more than a frame
	ended bool // from has
}

// once waits until there is something to be read, and reads it, if there is room.
func (f *filling) once() (err error) {
	waited := f.from.Read(func(fd uintptr) (done bool) {
		if isClosed(f.to.out.by.passed()) {
			err = errFull // which waits, and hears of the deadline
			return true
		}
		now := time.Now()
		f.to.step(now, func() (do effects) {
			do, err = f.to.wire.fill(f.much, func(bufs [][]byte) (int, error) { return f.read(int(fd), bufs) }, now)
			return do
		})
		if errors.Is(err, unix.EAGAIN) {
			err = nil
			return false
		}
		return true
	})
	if err == nil {
		err = waited
	}
	return err
}

// read reads once. It does not wait.
func (f *filling) read(fd int, bufs [][]byte) (int, error) {
	n, err := unix.Readv(fd, bufs)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Readv(fd, bufs)
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	f.much = n >= maxData
	f.ended = err != nil && !errors.Is(err, unix.EAGAIN)
	return max(n, 0), err
}
