//go:build linux

package session

import (
	"bytes"
)

// tailOfLines is from where on to read, and how many of the lines that come of it not to
// print, for the last n lines of a log from an offset on.
func tailOfLines(r logReader, n int, from uint64, raw bool) (at uint64, drop int, err error) {
	const spare = 200 // lines that may look otherwise where reading begins in the middle
	for back := uint64(64<<10) + 256*uint64(n); ; back *= 8 {
		at := max(from, r.lineStart(back))
		lines, err := countLines(r, at, raw)
		if err != nil || at <= from || lines >= n+spare {
			return at, max(0, lines-n), err
		}
	}
}

// countLines is how many lines come of a log from an offset on.
func countLines(r logReader, at uint64, raw bool) (n int, err error) {
	open := false
	count := func(_ stream, p []byte) error {
		n += bytes.Count(p, []byte("\n"))
		open = p[len(p)-1] != '\n'
		return nil
	}
	if raw {
		_, err = r.copyTo(rawCount(count), at)
	} else {
		c := &collapsers{window: unknownWindow, emit: count, exact: true}
		if c.depths, err = measure(r, at); err == nil {
			_, err = r.copyTo(c, at)
		}
		_ = c.gap(0)
	}
	if open {
		n++
	}
	return n, err
}

// rawCount is a sink for all that is printed.
type rawCount func(s stream, p []byte) error

func (c rawCount) put(s stream, p []byte) error { return c(s, p) }

func (c rawCount) picture([]byte) error { return nil }

func (c rawCount) gap(uint64) error { return nil }
