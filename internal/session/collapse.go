//go:build linux

package session

import (
	"bytes"

	"keyway/internal/screen"
)

// collapser makes of an output the lines that are left in the end. A line that
// only prints passes as it is. One that goes back, as progress bars do, is drawn
// on a screen with the ones that follow, and comes as it finally looked when
// calmLines have passed that did not go back.
type collapser struct {
	emit  func([]byte) error
	line  []byte         // has not ended; none of it goes back
	sure  int            // as far as this much of it shows
	bar   *screen.Screen // nil: nothing is being drawn
	spare *screen.Screen // for the next bar
	dirty bool           // the line being drawn goes back
	cut   bool           // it may, by what comes next
	calm  int            // lines drawn since one that did
	text  []byte         // the drawn line that has scrolled off in part
	err   error          // of emit, the first
}

const (
	maxLine   = 64 << 10 // of a line that has not ended; a longer one is cut
	calmLines = 3
	barRows   = 50 // as far up as bars go
	barCols   = 500
)

// write takes output.
func (c *collapser) write(p []byte) error {
	for len(p) > 0 && c.err == nil {
		n := bytes.IndexByte(p, '\n') + 1
		if n == 0 {
			n = len(p)
		}
		c.take(p[:n], p[n-1] == '\n')
		p = p[n:]
	}
	return c.err
}

// take takes output up to the end of a line, or what there is of it.
func (c *collapser) take(p []byte, whole bool) {
	if c.bar == nil {
		c.line = append(c.line, p...)
		back, sure := goesBack(c.line[c.sure:])
		c.sure += sure
		if !back {
			if whole || len(c.line) > maxLine {
				c.pass(unixLine(c.line))
				c.line, c.sure = c.line[:0], 0
			}
			return
		}
		c.begin()
		p, c.line, c.sure = c.line, nil, 0
	}
	back, _ := goesBack(p)
	c.dirty = c.dirty || back || c.cut && p[0] != '\n'
	c.cut = p[len(p)-1] == '\r' || p[len(p)-1] == esc
	_, _ = c.bar.Write(p)
	c.bar.Answers()
	if !whole {
		return
	}
	c.calm++
	if c.dirty {
		c.calm = 0
	}
	c.dirty = false
	if c.calm >= calmLines {
		c.end()
	}
}

func (c *collapser) begin() {
	c.calm, c.dirty, c.cut = 0, false, false
	if c.bar, c.spare = c.spare, nil; c.bar == nil {
		c.bar = screen.New(barCols, barRows, screen.Options{Lines: -1, Newline: true, Scrolled: c.scrolled})
	}
}

// scrolled gets a row of the screen that will not change any more.
func (c *collapser) scrolled(row []byte, wrapped bool) {
	c.text = append(c.text, row...)
	if !wrapped {
		c.pass(append(c.text, '\n'))
		c.text = c.text[:0]
	}
}

func (c *collapser) pass(line []byte) {
	if c.err == nil {
		c.err = c.emit(line)
	}
}

// end lets all that was drawn go: the screen is scrolled until it is empty.
func (c *collapser) end() {
	_, _ = c.bar.Write(c.bar.Undo(nil))
	_, row := c.bar.Cursor()
	rows := max(row, bytes.Count(c.bar.Text(nil), []byte("\n")))
	_, _ = c.bar.Write([]byte("\x1b[9999;1H"))
	for range rows {
		_, _ = c.bar.Write([]byte("\n"))
	}
	_, _ = c.bar.Write([]byte("\x1bc"))
	c.bar, c.spare = nil, c.bar
}

// close lets go what has not ended in a line.
func (c *collapser) close() error {
	if c.bar != nil {
		c.end()
	}
	if len(c.line) > 0 {
		c.pass(c.line)
	}
	c.line = nil
	return c.err
}

// current is the text of the line that has not ended.
func (c *collapser) current() string {
	if c.bar != nil {
		return c.bar.LastLine()
	}
	s := newScreen(window{rows: 1, cols: barCols}, -1)
	_, _ = s.Write(c.line)
	return s.LastLine()
}

// unixLine is a line without the carriage return that terminals end it with.
func unixLine(line []byte) []byte {
	if n := len(line); bytes.HasSuffix(line, []byte("\r\n")) {
		return append(line[:n-2], '\n')
	}
	return line
}

// goesBack says that part of a line does more than to print one character after
// the other: colours and tabs are fine, and a carriage return before the end. If
// not, what comes next cannot change that for the first sure bytes.
func goesBack(p []byte) (back bool, sure int) {
	for sure < len(p) {
		switch c := p[sure]; {
		case c == '\b' || c == '\v' || c == '\f':
			return true, 0
		case (c == '\r' || c == esc) && sure+1 == len(p):
			return false, sure
		case c == '\r' && p[sure+1] != '\n' && p[sure+1] != '\r':
			return true, 0
		case c == esc:
			n, complete := sequence(p[sure:])
			if n == 0 {
				return true, 0
			}
			switch last := p[sure+n-1]; {
			case p[sure+1] != '[' || complete && last != 'm' || n > maxHeld:
				return true, 0
			case !complete:
				return false, sure
			}
			sure += n
			continue
		}
		sure++
	}
	return false, sure
}
