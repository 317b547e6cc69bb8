//go:build linux

package lines

import (
	"bytes"
	"sort"

	"keyway/internal/screen"
	"keyway/internal/session/wire"
)

// Collapser reduces an output to the lines that remain in the end on a terminal of the job's size.
// It draws the output on a model of a terminal. A line is final when the cursor has left it and the
// program has never moved up that far. A line that was printed from start to end is emitted as
// printed, any other as it is displayed.
type Collapser struct {
	emit   func([]byte) error // nil: only the depth is wanted
	window wire.Window
	pipe   bool // the meaning of a line feed; see screen.Options

	screen *screen.Screen
	low    uint64 // number of the lowest row that the cursor has been in
	Depth  uint64 // rows that it has moved up from there at most
	Exact  bool   // Depth is known to be the maximum
	Moved  bool   // the program does more than print
	next   uint64 // the first row whose line has not been emitted
	floor  uint64 // the first row that is drawn; all rows above have been emitted finally

	unread
	line  keptLine  // the line that the cursor is in
	plain keptLines // earlier lines that are as they were printed
	came  keptLines // emitted lines that may be seen again, as emitted
	scrolledOff
	stream bool         // the line is too long to be drawn, and is passed on unchanged
	top    top          // for programs that clear from the top: the user has seen the cleared rows
	begun  uint64       // the row that the line began in, if the line above it continues into that row; see begins
	reflow *reflowState // while the screen gets another size
	Err    error        // the first error of emit
}

// unread is output that has not been interpreted yet.
type unread struct {
	held   []byte // its meaning depends on the next bytes
	within bool   // within a string that only terminals read
}

// scrolledOff is the start of a line whose rest is still on the screen.
type scrolledOff struct {
	part   []byte
	partAt uint64 // its first row
}

// keptLine is a line that was printed at once, or that was emitted.
type keptLine struct {
	from, to uint64 // rows
	text     []byte
	ok       bool // it is a whole line
}

// keptLines are lines sorted by their first rows.
type keptLines []keptLine

// find returns the index of the line that begins in row from, or the index at which it belongs.
func (k keptLines) find(from uint64) (i int, ok bool) {
	i = sort.Search(len(k), func(i int) bool { return k[i].from >= from })
	return i, i < len(k) && k[i].from == from
}

// put adds a line, replacing one that begins in the same row.
func (k *keptLines) put(l keptLine) {
	i, ok := k.find(l.from)
	if !ok {
		*k = append(*k, l)
		copy((*k)[i+1:], (*k)[i:])
	}
	(*k)[i] = l
}

// reflowState holds the number of emitted lines at the top, while rows are renumbered.
type reflowState struct{ came int }

const (
	maxLine = 64 << 10 // bytes of a line that is kept as printed; a longer one is not drawn
	barRows = 100      // rows that programs move up at most where there is no terminal
	barCols = 512
)

// pipeWindow is the size of the model for output that does not go to a terminal.
var pipeWindow = wire.Window{Rows: barRows, Cols: barCols}

func newCollapser(w wire.Window, pipe bool, emit func([]byte) error) *Collapser {
	c := &Collapser{emit: emit, window: w, pipe: pipe}
	c.begin()
	return c
}

// begin starts with a blank screen.
func (c *Collapser) begin() {
	o := screen.Options{Lines: -1, Newline: c.pipe}
	if c.emit != nil {
		o.Scrolled = c.scrolled
	}
	c.screen = screen.New(int(c.window.Cols), int(c.window.Rows), o)
	c.low, c.next, c.floor = 0, 0, 0
	c.held, c.within, c.plain, c.came, c.part, c.stream = nil, false, nil, nil, nil, false
	c.begun, c.top = noRow, top{}
	c.fresh()
}

// row returns the number of the cursor's row.
func (c *Collapser) row() uint64 {
	_, y := c.screen.Cursor()
	return c.screen.Gone() + uint64(y)
}

// y returns the position of a row on the screen.
func (c *Collapser) y(row uint64) int { return int(row - c.screen.Gone()) }

// Write interprets output.
func (c *Collapser) Write(p []byte) error {
	if len(c.held) > 0 {
		p = append(c.held, p...)
		c.held = nil
	}
	for len(p) > 0 && c.Err == nil {
		n := 0
		if !c.within {
			n, _, _ = screen.Plain(p)
		}
		switch {
		case n > 0 && n == len(p) && p[n-1] == '\r':
			c.print(p[:n-1])
			c.held = []byte{'\r'}
		case n > 0:
			c.print(p[:n])
		default:
			if n = controlAt(p, &c.within); n == 0 {
				c.held = append([]byte(nil), p...)
				return c.Err
			}
			c.control(p[:n])
		}
		p = p[n:]
	}
	return c.Err
}

// Final returns the first row that may still change.
func (c *Collapser) Final() uint64 { return c.low - min(c.low, c.Depth) }

// Behind returns the number of rows down to the lowest one that the cursor has been in that have
// not been emitted.
func (c *Collapser) Behind() uint64 { return c.low - min(c.low, c.next) }

// SkipTo emits all rows but that number, counted as by Behind.
func (c *Collapser) SkipTo(behind uint64) { c.Release(c.low - min(c.low, behind)) }

// Pending reports whether final lines have not been emitted.
func (c *Collapser) Pending() bool { return c.next < c.Final() }

// HidesCursor reports whether the program has hidden the cursor.
func (c *Collapser) HidesCursor() bool { return c.screen.CursorHidden() }

// look updates the state after the cursor has moved.
func (c *Collapser) look() {
	if c.screen.Alternate() {
		return
	}
	row := c.row()
	c.top.follow(row, c.window)
	c.low = max(c.low, row)
	c.Depth = max(c.Depth, c.low-row)
	if final := c.Final(); c.next > final { // it has moved up further than ever before
		c.next = min(c.next, max(c.floor, c.lineStart(final)))
	}
}

// lineStart returns the first row of the line that a row belongs to.
func (c *Collapser) lineStart(row uint64) uint64 {
	for row > c.screen.Gone() && c.screen.Wrapped(c.y(row)-1) {
		row--
	}
	return max(row, c.screen.Gone())
}

// Release emits the lines that end above a row.
func (c *Collapser) Release(before uint64) {
	if c.emit == nil {
		c.next = max(c.next, before)
		return
	}
	for c.next < before {
		from := max(c.next, c.screen.Gone())
		if from >= before {
			return
		}
		to := from
		for to+1 < before && c.screen.Wrapped(c.y(to)) {
			to++
		}
		if c.screen.Wrapped(c.y(to)) {
			return // it continues below
		}
		text := c.part
		for row := from; row <= to; row++ {
			text, _ = c.screen.Row(text, c.y(row))
		}
		start := from
		if len(c.part) > 0 {
			start = c.partAt
		}
		c.part = nil
		c.comes(start, append(text, '\n'))
		c.next = to + 1
	}
}

// comes emits a line, unless it was emitted with the same text.
func (c *Collapser) comes(from uint64, text []byte) {
	if i, ok := c.plain.find(from); ok {
		text = c.plain[i].text
	}
	if i, ok := c.came.find(from); ok && bytes.Equal(c.came[i].text, text) {
		return
	}
	if from >= c.screen.Gone() { // it may still change
		c.came.put(keptLine{from: from, text: bytes.Clone(text)})
	}
	c.pass(text)
}

// scrolled receives a row of the screen that will not change any more.
func (c *Collapser) scrolled(text []byte, wrapped bool) {
	row := c.screen.Gone()
	if r := c.reflow; r != nil {
		if r.came > 0 {
			if !wrapped {
				r.came--
			}
			return
		}
	} else if row < c.next {
		c.forget(row)
		return
	}
	if len(c.part) == 0 {
		c.partAt = row
	}
	c.part = append(c.part, text...)
	if wrapped {
		c.cutPart()
		return
	}
	line := append(c.part, '\n')
	c.part = nil
	c.comes(c.partAt, line)
	c.next = row + 1
	c.forget(row)
}

// cutPart emits the part of a very long line that has scrolled off.
func (c *Collapser) cutPart() {
	if long := len(c.part) > maxLine; long && !(c.line.ok && c.line.from == c.partAt) {
		c.pass(c.part)
		c.part = c.part[:0]
	}
}

// forget drops the state of rows up to one.
func (c *Collapser) forget(row uint64) {
	n := 0
	for n < len(c.plain) && c.plain[n].to <= row {
		n++
	}
	c.plain = c.plain[n:]
	n = 0
	for n < len(c.came) && c.came[n].from <= row {
		n++
	}
	c.came = c.came[n:]
}

func (c *Collapser) pass(line []byte) {
	if c.Err == nil && c.emit != nil && len(line) > 0 {
		c.Err = c.emit(line)
	}
}

// resize notes the new size of the job's terminal.
func (c *Collapser) resize(w wire.Window) {
	if w == c.window || w.Rows == 0 || w.Cols == 0 {
		return
	}
	c.endStream()
	before := c.window
	c.window = w
	r := &reflowState{}
	for row := c.screen.Gone(); row < c.next; row++ {
		if !c.screen.Wrapped(c.y(row)) {
			r.came++
		}
	}
	c.reflow = r
	was, end := c.row(), c.inUse()
	c.screen.Resize(int(w.Cols), int(w.Rows))
	c.top.resize(was, before, w, int64(c.inUse()-end))
	c.reflow = nil
	c.plain, c.came, c.begun = nil, nil, noRow // they are keyed by the old row numbers
	row := c.screen.Gone()
	for ; r.came > 0 && c.y(row) < int(w.Rows)-1; row++ {
		if !c.screen.Wrapped(c.y(row)) {
			r.came--
		}
	}
	c.next, c.floor = row, row
	c.low = max(c.row(), c.screen.Gone()+uint64(max(1, c.screen.Used()))-1)
	c.line.ok = false
}

// begins notes where p is printed, if that is at the start of a row that the line above
// continues into.
func (c *Collapser) begins(p []byte) {
	x, y := c.screen.Cursor()
	if x > 0 {
		return
	}
	c.begun = noRow
	if printed := len(p) > 0 && (p[0] > '\r' || p[0] == '\t'); printed && (y > 0 && c.screen.Wrapped(y-1) || y == 0 && len(c.part) > 0) {
		c.begun = c.row()
	}
}

// unfold ends the line above, if a program has begun the line that is now complete at the start
// of a row that the line above continued into. The two are separate lines. After a window got
// smaller, a program may take the rest of a bar for the bar. As long as it only draws bars
// there, they are one line, as in tmux.
func (c *Collapser) unfold() {
	row := c.begun
	c.begun = noRow
	switch {
	case row == noRow || row < c.screen.Gone():
	case row > c.screen.Gone():
		c.screen.EndLine(c.y(row) - 1)
	case len(c.part) > 0: // it has scrolled off
		line := append(c.part, '\n')
		c.part = nil
		c.comes(c.partAt, line)
	}
}

// flush emits everything that is drawn: the next output is unknown.
func (c *Collapser) flush() {
	_, _ = c.screen.Write(c.held)
	_, _ = c.screen.Write(c.screen.Undo(nil))
	if last := c.line; last.ok && len(last.text) > 0 && !c.stream { // and nothing is below it
		c.Release(last.from)
		c.pass(last.text)
	} else {
		c.Release(max(c.end(), c.row()))
		c.pass(c.part)
	}
	c.begin()
}

// end returns the first row below everything visible, including rows that a visible line
// continues into.
func (c *Collapser) end() uint64 {
	y := c.screen.Used()
	for y > 0 && c.screen.Wrapped(y-1) {
		y++
	}
	return c.screen.Gone() + uint64(y)
}

// inUse returns the first row below the cursor and everything visible.
func (c *Collapser) inUse() uint64 {
	return max(c.row()+1, c.screen.Gone()+uint64(c.screen.Used()))
}

// close emits the rest.
func (c *Collapser) close() error {
	c.flush()
	return c.Err
}

// Rest returns the text that is drawn and has not been emitted.
func (c *Collapser) Rest() (rows []string) {
	if c.screen.Alternate() {
		return nil
	}
	used := c.screen.Gone() + uint64(c.screen.Used())
	for row := max(c.next, c.screen.Gone()); row < used; row++ {
		rows = append(rows, string(c.screen.Plaintext(nil, c.y(row))))
	}
	return rows
}
