//go:build linux

package view

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/session/joblog"
	"keyway/internal/session/wire"
)

// logFile is the segment of a log from which output was read last.
type logFile struct {
	f     *os.File // nil: none
	start uint64
}

// takesLog reports whether output can go from the log to its destination without passing
// through this process: only a terminal needs filtering.
func (t *Terminal) takesLog() bool { return !OnTerminal(t.Out) && !OnTerminal(t.err) }

var _ wire.LogReader = (*Terminal)(nil)

// PutLogged implements wire.LogReader. Bytes that the log does not have, because the job has
// truncated it, are a gap.
func (t *Terminal) PutLogged(dir string, l wire.Logged) error {
	if t.log.f == nil || t.log.start != l.Segment {
		f, err := joblog.OpenData(dir, l.Segment)
		if err != nil {
			return err
		}
		t.log.close()
		t.log = logFile{f, l.Segment}
	}
	to, at, left := t.to(l.Stream), int64(l.Offset-l.Segment), int(l.Count)
	for left > 0 {
		n, err := t.log.move(to, &at, left)
		if err != nil {
			return err
		}
		if n == 0 {
			return t.Gap(uint64(left))
		}
		if left -= n; left > 0 { // the pipe is full: wait until more than a piece of it is free
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// move moves up to n bytes at an offset to a file. If that is a pipe, the kernel does so
// without a copy. It returns 0 at the log's end.
func (l logFile) move(to *os.File, at *int64, n int) (moved int, err error) {
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		moved, err = unix.Sendfile(int(to.Fd()), int(l.f.Fd()), at, n)
	}
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EAGAIN) {
		return moved, err
	}
	buf := make([]byte, min(n, wire.MaxOutput)) // for example, to a file in append mode
	n, _ = l.f.ReadAt(buf, *at)
	*at += int64(n)
	return to.Write(buf[:n])
}

func (l logFile) close() {
	if l.f != nil {
		l.f.Close()
	}
}
