//go:build linux

package session

import (
	"bytes"
	"strconv"
)

// upScan is a sink that looks for anything that moves the cursor up.
type upScan struct {
	held   [3][]byte
	within [3]bool
	up     bool
}

func (u *upScan) picture([]byte) error { return nil }
func (u *upScan) gap(uint64) error     { return nil }

func (u *upScan) put(s stream, p []byte) error {
	if u.up {
		return nil
	}
	p = append(u.held[s], p...)
	u.held[s] = nil
	for len(p) > 0 {
		if !u.within[s] {
			at := bytes.IndexByte(p, esc)
			if at < 0 {
				return nil
			}
			p = p[at:]
		}
		begun := u.within[s]
		n := controlAt(p, &u.within[s])
		if n == 0 {
			u.held[s] = append([]byte(nil), p...)
			return nil
		}
		u.up = u.up || !begun && goesUp(p[:n])
		p = p[n:]
	}
	return nil
}

// goesUp reports whether a sequence may move the cursor up, or change what is above it.
func goesUp(p []byte) bool {
	if len(p) < 2 {
		return false
	}
	if p[1] != '[' {
		return bytes.IndexByte([]byte("78=>()*+ ]P_^Xk"), p[1]) < 0 || p[1] == '8'
	}
	switch last := p[len(p)-1]; last {
	case 'h', 'l':
		return bytes.HasPrefix(p, []byte("\x1b[?6")) || bytes.HasPrefix(p, []byte("\x1b[?3"))
	default:
		return bytes.IndexByte([]byte("mKGCDXPBnctqsg@p`aIZ"), last) < 0
	}
}

// tail is from where on to read, and how many of the lines that come of it not to
// print, for the last lines of a log from an offset on.
func (i info) tail(count string, from uint64, raw bool) (at uint64, drop int, err error) {
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return 0, 0, misused("logs", "--tail: %q is no number of lines", count)
	}
	r, closeLog, err := openLog(i.dir)
	if err != nil {
		return 0, 0, err
	}
	defer closeLog()
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
func (c rawCount) picture([]byte) error         { return nil }
func (c rawCount) gap(uint64) error             { return nil }
