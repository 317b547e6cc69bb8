//go:build unix

package typeahead

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Follows reports whether there is something to read from f, or comes within that time.
func Follows(f *os.File, within time.Duration) (follows bool) {
	withDescriptor(f, func(fd int) { follows = readable(fd, within) })
	return follows
}

// Discard throws away what waits to be read from the terminal f, which must be raw. If
// there is anything, or more is expected, it goes on until nothing comes for Pause; but
// not for ever.
func Discard(f *os.File, expected bool) {
	withDescriptor(f, func(fd int) {
		wait := time.Duration(0)
		if expected {
			wait = Pause
		}
		buf := make([]byte, 4<<10)
		for end := time.Now().Add(most); time.Now().Before(end) && readable(fd, wait); wait = Pause {
			if n, err := unix.Read(fd, buf); n <= 0 && !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
}

func withDescriptor(f *os.File, use func(fd int)) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { use(int(fd)) })
	}
}

// readable waits with select(2): poll(2) knows no terminals on macOS.
func readable(fd int, within time.Duration) bool {
	if fd >= unix.FD_SETSIZE {
		return false
	}
	for end := time.Now().Add(within); ; {
		var set unix.FdSet
		set.Set(fd)
		left := unix.NsecToTimeval(max(0, time.Until(end)).Nanoseconds())
		n, err := unix.Select(fd+1, &set, nil, nil, &left)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}
