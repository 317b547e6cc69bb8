//go:build linux

package lines

import (
	"bytes"

	"keyway/internal/screen"
)

// fresh begins a line. A line in an empty row with default attributes can be kept as printed.
func (c *Collapser) fresh() {
	x, y := c.screen.Cursor()
	c.line = keptLine{from: c.row(), text: c.line.text[:0], ok: x == 0 && c.screen.AtRest() && c.screen.Used() <= y}
}

// print handles plain output.
func (c *Collapser) print(p []byte) {
	if c.screen.Alternate() {
		_, _ = c.screen.Write(p)
		return
	}
	c.begins(p)
	p = c.flood(p)
	for len(p) > 0 {
		n := bytes.IndexByte(p, '\n') + 1
		whole := n > 0
		if !whole {
			n = len(p)
		}
		c.printLine(p[:n], whole)
		p = p[n:]
	}
}

// flood emits lines that leave the screen when the lines after them are printed, and returns
// those.
func (c *Collapser) flood(p []byte) (rest []byte) {
	rows, keep := int(c.window.Rows), int(c.window.Rows)
	if c.Exact || c.emit == nil { // no row above the screen is seen again
		keep = int(min(uint64(rows), c.Depth))
	}
	lines := bytes.Count(p, []byte("\n"))
	if lines <= 2*keep+8 || !c.line.ok || len(c.line.text) > 0 || c.stream || bytes.ContainsAny(p, "\b\x1b") {
		return p
	}
	if pairs := bytes.Count(p, []byte("\r\n")); pairs != bytes.Count(p, []byte("\r")) || !c.pipe && pairs != lines {
		return p
	}
	at := 0
	for range lines - keep {
		at += bytes.IndexByte(p[at:], '\n') + 1
	}
	c.Release(c.row())
	c.pass(bytes.ReplaceAll(p[:at], []byte("\r\n"), []byte("\n")))
	c.next = allRows // the rows there have been emitted
	_, _ = c.screen.Write(bytes.Repeat([]byte("\r\n"), rows))
	c.skipTo(c.row())
	c.fresh()
	return p[at:]
}

// skipTo notes that all rows above a row have been emitted.
func (c *Collapser) skipTo(row uint64) {
	c.low, c.next, c.floor = row, row, row
	c.plain, c.came, c.part = c.plain[:0], nil, nil
}

// printLine handles plain output up to the end of a line, or as much of it as there is.
func (c *Collapser) printLine(p []byte, whole bool) {
	body := p
	if whole {
		body = bytes.TrimRight(p[:len(p)-1], "\r")
	}
	if at := max(bytes.LastIndexByte(body, '\r'), bytes.LastIndexByte(body, '\b')) + 1; at > 0 {
		c.endStream()
		c.Moved = true
		c.draw(p[:at])
		c.begins(p[at:])
		c.fresh()
		p, body = p[at:], body[at:]
	}
	if whole {
		c.unfold()
	}
	c.line.ok = c.line.ok && (c.stream || !erases(body))
	if whole && c.passAt(p, body) {
		return
	}
	if c.stream || c.line.ok && len(c.line.text)+len(body) > maxLine {
		c.passLong(body, whole)
		return
	}
	if !c.line.ok {
		c.draw(p)
	} else {
		c.line.text = append(c.line.text, body...)
		_, _ = c.screen.Write(p)
		c.look()
	}
	if !whole {
		return
	}
	if c.line.to = c.row() - 1; c.line.ok && c.line.to >= c.line.from && c.screen.AtRest() && c.emit != nil {
		c.keep()
	}
	c.fresh()
}

// keep keeps the line that has just been printed.
func (c *Collapser) keep() {
	l := keptLine{c.line.from, c.line.to, append(bytes.Clone(c.line.text), '\n'), true}
	c.touch(l.from, l.to)
	c.plain.put(l)
}

// passAt emits a line that need not be drawn, because no cursor returns to it. The next line
// then looks as if this one had been drawn.
func (c *Collapser) passAt(p, body []byte) bool {
	if !c.Exact || c.Depth > 0 || c.stream || !c.line.ok || len(c.line.text) > 0 || len(body) > maxLine || !c.pipe && len(p) != len(body)+2 {
		return false
	}
	if last := bytes.LastIndexByte(body, esc); last >= 0 {
		if _, _, reset := screen.Plain(body); reset != last {
			return false
		}
	}
	c.Release(c.line.from)
	c.pass(body)
	c.pass([]byte("\n"))
	c.top.passed(c.row(), int64(1+max(0, len(body)-1)/int(c.window.Cols)), c.window)
	return true
}

// passLong emits a line that is too long to be drawn.
func (c *Collapser) passLong(body []byte, whole bool) {
	if !c.stream {
		c.Release(c.line.from)
		c.pass(c.line.text)
		c.stream, c.part, c.next = true, nil, allRows
	}
	c.pass(body)
	if whole {
		c.pass([]byte("\n"))
		c.endStream()
	}
}

func (c *Collapser) endStream() {
	if c.stream {
		c.stream = false
		_, _ = c.screen.Write([]byte("\r\n"))
		c.skipTo(c.row())
		c.fresh()
	}
}

// draw handles output that overwrites something or does not begin at the start of a line.
func (c *Collapser) draw(p []byte) {
	from := c.row()
	_, _ = c.screen.Write(p)
	c.look()
	c.touch(from, c.row())
}

// touch records that rows differ from the printed lines.
func (c *Collapser) touch(from, to uint64) {
	if n := len(c.plain); n == 0 || c.plain[n-1].to < from {
		return
	}
	left := c.plain[:0]
	for _, l := range c.plain {
		if l.to < from || l.from > to {
			left = append(left, l)
		}
	}
	c.plain = left
}

const (
	allRows = ^uint64(0)
	noRow   = allRows
)

// control handles a sequence or a control character that is not plain.
func (c *Collapser) control(p []byte) {
	c.endStream()
	c.Moved = true
	if !c.screen.Alternate() {
		x, _ := c.screen.Cursor()
		home := x == 0 && int64(c.row()) == c.top.at
		from, clears := touches(p, c.row(), home)
		if clears { // the user has seen the screen
			c.Release(c.end())
			c.top.cleared(c.screen.Gone() + uint64(c.screen.Used()))
			if home {
				c.skipTo(c.row())
			} else {
				c.skipTo(c.screen.Gone())
			}
		}
		if from != noRow {
			c.touch(from, allRows)
		}
	}
	x, y := c.screen.Cursor()
	_, _ = c.screen.Write(p)
	c.screen.Answers()
	if x2, y2 := c.screen.Cursor(); x2 != x || y2 != y {
		c.begun = noRow
	}
	c.look()
	c.fresh()
}
