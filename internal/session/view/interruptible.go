//go:build linux

package view

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// interruptible reads a file so that a read can be interrupted. An inherited terminal or pipe
// cannot be made non-blocking, because that would change it for all other processes that have
// it open.
type interruptible struct {
	f     *os.File
	stopR *os.File
	stopW *os.File
}

func newInterruptible(f *os.File) (*interruptible, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &interruptible{f: f, stopR: r, stopW: w}, nil
}

// Read reads from the file. It returns os.ErrClosed after stop.
func (i *interruptible) Read(p []byte) (int, error) { return i.readWithin(p, -1) }

// readWithin is Read with a timeout, after which it returns os.ErrDeadlineExceeded. A negative
// time is no bound.
func (i *interruptible) readWithin(p []byte, most time.Duration) (int, error) {
	millis := -1
	if most >= 0 {
		millis = int(most.Milliseconds())
	}
	fds := []unix.PollFd{{Fd: int32(i.f.Fd()), Events: unix.POLLIN}, {Fd: int32(i.stopR.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, millis)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case fds[1].Revents != 0:
			return 0, os.ErrClosed
		case n == 0:
			return 0, os.ErrDeadlineExceeded
		default:
			return i.f.Read(p)
		}
	}
}

// stop interrupts a waiting Read and all later ones. release frees the resources, after the
// last Read.
func (i *interruptible) stop() { i.stopW.Close() }

func (i *interruptible) release() { i.stopR.Close() }
