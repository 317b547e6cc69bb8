//go:build linux

package stdio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// End is one of a client's descriptors, passed to the mux. Other processes that have it open, such
// as the user's shell, share its flags, so it is never made non-blocking: pipes and terminals are
// opened again, with flags of their own.
type End struct {
	fd       int      // -1: closed, for file
	file     *os.File // the same pipe or terminal; nil for others
	socket   bool
	terminal bool
	stopped  atomic.Bool
	using    sync.Mutex // held by Read and Write
	pid      int        // the client, where this is a terminal to read from
}

// New takes over fd.
func New(fd, mode, pid int) *End {
	e := &End{fd: fd, pid: pid}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return e
	}
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	e.terminal = err == nil
	e.socket = st.Mode&unix.S_IFMT == unix.S_IFSOCK
	if st.Mode&unix.S_IFMT != unix.S_IFIFO && !e.terminal {
		return e
	}
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), mode|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return e
	}
	e.file = os.NewFile(uintptr(again), "a client's")
	if !e.terminal { // whose size is still asked for
		unix.Close(fd)
		e.fd = -1
	}
	return e
}

// backgroundPause is the interval of looks at a terminal whose client is in the
// background, and stopPause how often a file or a socket that does not answer.
const (
	backgroundPause = 50 * time.Millisecond
	stopPause       = 100 // milliseconds
)

// First returns the bytes that can be read at once. It never waits.
func (e *End) First(buf []byte) (n int, ended bool) {
	if e.terminal {
		return 0, false
	}
	var err error
	if e.file != nil {
		raw, rawErr := e.file.SyscallConn()
		if rawErr != nil {
			return 0, false
		}
		_ = raw.Read(func(fd uintptr) bool {
			n, err = unix.Read(int(fd), buf)
			return true
		})
	} else {
		if ready, _ := unix.Poll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}, 0); ready != 1 {
			return 0, false
		}
		n, err = e.readFD(buf)
	}
	return max(n, 0), n == 0 && err == nil
}

func (e *End) readFD(p []byte) (int, error) {
	if e.socket {
		n, _, err := unix.Recvfrom(e.fd, p, unix.MSG_DONTWAIT)
		return n, err
	}
	return unix.Read(e.fd, p)
}

// Read implements io.Reader.
func (e *End) Read(p []byte) (int, error) {
	e.using.Lock()
	defer e.using.Unlock()
	switch {
	case e.terminal && e.file != nil:
		return e.readTerminal(p)
	case e.file != nil:
		return e.file.Read(p)
	}
	for !e.stopped.Load() {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}, stopPause)
		if ready == 0 || errors.Is(err, unix.EINTR) {
			continue
		}
		if e.terminal && !mayRead(e.pid, e.fd) {
			time.Sleep(backgroundPause)
			continue
		}
		n, err := e.readFD(p)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
	return 0, os.ErrClosed
}

// readTerminal reads only while the client itself might.
func (e *End) readTerminal(p []byte) (n int, err error) {
	raw, err := e.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	for !e.stopped.Load() {
		background := false
		outer := raw.Read(func(fd uintptr) bool {
			if ready, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); ready == 0 {
				return false
			}
			if background = !mayRead(e.pid, int(fd)); background {
				return true
			}
			n, err = unix.Read(int(fd), p)
			return !errors.Is(err, unix.EAGAIN)
		})
		switch {
		case outer != nil:
			return 0, outer
		case background:
			time.Sleep(backgroundPause)
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
	return 0, os.ErrClosed
}

// Write implements io.Writer.
func (e *End) Write(p []byte) (done int, err error) {
	e.using.Lock()
	defer e.using.Unlock()
	if e.file != nil {
		return e.file.Write(p)
	}
	for done < len(p) && !e.stopped.Load() {
		var n int
		if e.socket {
			n, err = unix.SendmsgN(e.fd, p[done:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		} else {
			n, err = unix.Write(e.fd, p[done:])
		}
		switch {
		case errors.Is(err, unix.EAGAIN):
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLOUT}}, stopPause)
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return done, err
		default:
			done += n
		}
	}
	if done < len(p) {
		return done, os.ErrClosed
	}
	return done, nil
}

// Stop ends waiting calls of Read and Write.
func (e *End) Stop() {
	e.stopped.Store(true)
	if e.file != nil {
		_ = e.file.SetDeadline(time.Unix(1, 0))
	}
}

// Close waits for Read and Write, which stop has ended.
func (e *End) Close() {
	e.Stop()
	e.using.Lock()
	defer e.using.Unlock()
	if e.file != nil {
		e.file.Close()
	}
	if e.fd >= 0 {
		unix.Close(e.fd)
	}
}
