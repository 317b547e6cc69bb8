//go:build linux

package lines

import (
	"bytes"

	"keyway/internal/session/joblog"
	"keyway/internal/session/wire"
)

// Tail returns the offset at which to begin to read a log, and the number of lines to drop from
// there, so that the last n lines at or after the offset from remain. raw counts lines as
// printed, not as a terminal shows them.
func Tail(r joblog.Reader, n int, from uint64, raw bool) (at uint64, drop int, err error) {
	const spare = 200 // lines that may look different because reading begins in the middle
	for back := uint64(64<<10) + 256*uint64(n); ; back *= 8 {
		at := max(from, r.LineStart(back))
		lines, err := countLines(r, at, raw)
		if err != nil || at <= from || lines >= n+spare {
			return at, max(0, lines-n), err
		}
	}
}

// countLines returns the number of lines that a log yields from an offset on.
func countLines(r joblog.Reader, at uint64, raw bool) (n int, err error) {
	open := false
	count := func(_ wire.Stream, p []byte) error {
		n += bytes.Count(p, []byte("\n"))
		open = p[len(p)-1] != '\n'
		return nil
	}
	if raw {
		_, err = r.CopyTo(rawCount(count), at)
	} else {
		c := &Collapsers{Window: UnknownWindow, Emit: count, Exact: true}
		if c.Depths, err = Measure(r, at); err == nil {
			_, err = r.CopyTo(c, at)
		}
		_ = c.Gap(0)
	}
	if open {
		n++
	}
	return n, err
}

// rawCount is a sink that passes all output to a function.
type rawCount func(s wire.Stream, p []byte) error

func (c rawCount) Put(s wire.Stream, p []byte) error { return c(s, p) }

func (c rawCount) Picture([]byte) error { return nil }

func (c rawCount) Gap(uint64) error { return nil }

// Before returns the offset of the log in dir from which to draw, in order to get the contents of a
// terminal at a later offset.
func Before(dir string, at uint64) (uint64, error) {
	const enough = 1 << 20 // more than any screen, and than a line that is drawn
	r, closeLog, err := joblog.Open(dir)
	if err != nil {
		return 0, err
	}
	defer closeLog()
	return r.UpTo(at).LineStart(enough), nil
}
