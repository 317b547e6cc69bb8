//go:build unix

package typeahead

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Follows reports whether there is something to read from f, or comes within that time.
func Follows(f *os.File, within time.Duration) (follows bool) {
	withDescriptor(f, func(fd int) { follows = readable(fd, within) })
	return follows
}

// Discard discards the input that waits in the terminal f, which must be raw, and input that
// follows it without a pause. It first waits for input for that time; 0 means that none is
// expected. Within a bracketed paste, it continues to the end of the paste: if nothing comes for a
// while, it says so on out, and from then on it also ends at a Ctrl-C or after a minute of silence.
func (m *Marks) Discard(f *os.File, out io.Writer, wait time.Duration) {
	withDescriptor(f, func(fd int) {
		buf := make([]byte, 4<<10)
		last, told := time.Now(), false
		for end := last.Add(most); m.Within || last.Before(end); {
			patience := wait
			if m.Within {
				patience = noticed
			}
			if told {
				patience = silence
			}
			if !readable(fd, patience) {
				if !m.Within || told {
					return
				}
				told = true
				_, _ = io.WriteString(out, "\r\n[the rest of a paste is thrown away until it ends, or until Ctrl-C]\r\n")
				continue
			}
			n, err := unix.Read(fd, buf)
			if n <= 0 && !errors.Is(err, unix.EINTR) || told && n == 1 && buf[0] == ctrlC && !readable(fd, Pause) {
				return
			}
			m.Follow(buf[:max(n, 0)])
			wait = max(wait, PauseAfter(time.Since(last)))
			last = time.Now()
			if m.Ended() {
				wait, told = Pause, false
			}
		}
	})
}

func withDescriptor(f *os.File, use func(fd int)) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { use(int(fd)) })
	}
}

// readable waits with select(2): poll(2) does not support terminals on macOS.
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
