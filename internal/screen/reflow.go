package screen

// Resize changes the size of the screen, subject to Bound. Wrapped lines of the main screen are
// wrapped again. Rows that have no room go to the history, and come back when there is room
// again. The alternate screen is cut, because programs redraw it.
func (s *Screen) Resize(cols, rows int) {
	cols, rows = Bound(cols, rows)
	if cols == s.cols && rows == s.rows {
		return
	}
	s.reflow(cols, rows)
	if s.alt.rows > 0 {
		s.crop(&s.alt, cols, rows)
	}
	tabs := s.tabs
	s.cols, s.rows = cols, rows
	s.resetTabs()
	copy(s.tabs, tabs)
	s.margin = s.g.whole()
	if s.Alternate() {
		s.cursor.clamp(cols, rows)
	}
	if s.modes.on(resizeEvents) {
		s.answer("\x1b[48;", rows, ";", cols, ";0;0t")
	}
}

func (c *cursor) clamp(cols, rows int) {
	if c.x >= cols || c.y >= rows {
		c.pending = false
	}
	c.pending = c.pending && c.x == cols-1
	c.x, c.y = min(c.x, cols-1), min(c.y, rows-1)
}

// crop keeps the top left of a grid.
func (s *Screen) crop(g *grid, cols, rows int) {
	old := *g
	g.init(cols, rows)
	for y := range min(rows, old.rows) {
		n := copy(g.row(y), old.row(y))
		g.lines[y].used = int32(min(n, int(old.lines[y].used)))
		if n < old.cols && old.row(y)[n].tail() {
			g.row(y)[n-1] = cell{}
		}
	}
	g.saved.clamp(cols, rows)
}

// flow is the main screen's text while its width changes.
type flow struct {
	s          *Screen
	cols, rows int // the new size
	lines      []flowLine
	cursors    []*flowCursor
}

// flowLine is a line as it was printed, of any length.
type flowLine struct {
	cells []cell
	rows  []int // the start of each of its new rows
}

// flowCursor is a cursor that stays at its character.
type flowCursor struct {
	cursor       *cursor
	line, offset int
}

func (s *Screen) reflow(cols, rows int) {
	f := &flow{s: s, cols: cols, rows: rows}
	if !s.Alternate() {
		f.cursors = append(f.cursors, &flowCursor{cursor: &s.cursor})
	}
	if s.main.saved.set {
		f.cursors = append(f.cursors, &flowCursor{cursor: &s.main.saved})
	}
	full := f.collect()
	total := 0
	for i := range f.lines {
		total += f.breakLine(i)
	}
	if full {
		total += f.recall(rows - total)
	}
	f.draw(total)
}

// collect joins the rows into lines. full reports whether the screen is in use down to its last
// row.
func (f *flow) collect() (full bool) {
	g := &f.s.main
	last := g.rows - 1
	for last > 0 && g.lines[last].used == 0 && !f.cursorIn(last) {
		last--
	}
	for y := 0; y <= last; y++ {
		if y == 0 || !g.lines[y-1].wrapped {
			f.lines = append(f.lines, flowLine{})
		}
		l := &f.lines[len(f.lines)-1]
		for _, c := range f.cursors {
			if c.cursor.y == y {
				c.line, c.offset = len(f.lines)-1, len(l.cells)+c.cursor.x
				if c.cursor.pending {
					c.offset++
				}
			}
		}
		l.cells = append(l.cells, g.row(y)[:f.rowEnd(g, y)]...)
	}
	return last == g.rows-1
}

func (f *flow) cursorIn(y int) bool {
	for _, c := range f.cursors {
		if c.cursor.y == y {
			return true
		}
	}
	return false
}

// rowEnd returns the number of cells of a row that belong to its line. Where the width changes,
// cells that were merely erased do not belong to it.
func (f *flow) rowEnd(g *grid, y int) int {
	line, end := g.lines[y], int(g.lines[y].used)
	switch {
	case line.short:
		return g.cols - 1
	case line.wrapped:
		return g.cols
	}
	for cells := g.row(y); end > 0 && cells[end-1].blank() && (f.cols != g.cols || cells[end-1].style == 0); {
		end--
	}
	return end
}

// breakLine finds the starts of the rows of a line, and returns their number.
func (f *flow) breakLine(i int) int {
	l := &f.lines[i]
	l.rows = append(l.rows[:0], 0)
	for at := 0; len(l.cells)-at > f.cols; {
		at += f.cols
		if f.cols > 1 && l.cells[at].tail() {
			at--
		}
		l.rows = append(l.rows, at)
	}
	return len(l.rows)
}

// recall takes lines back from the history until there are at least n more rows. It always
// takes the start of the first line.
func (f *flow) recall(n int) (got int) {
	h := &f.s.history
	for got < n || h.open() && f.cols != f.s.cols {
		joined := h.open()
		var line []cell
		some := false
		for size := 0; size <= f.cols*f.rows; {
			text, _, ok := h.pop()
			if !ok {
				break
			}
			part := f.s.decode(text)
			some, size = true, size+len(part)
			line = append(part, line...)
			if !h.open() {
				break
			}
		}
		if !some {
			return got
		}
		got += f.prepend(line, joined)
		if joined && h.open() {
			return got // this is a screenful of one line
		}
	}
	return got
}

// prepend inserts cells before the first line, or at its start, and returns the number of rows
// that this adds.
func (f *flow) prepend(cells []cell, joined bool) int {
	before := 0
	if joined {
		before = len(f.lines[0].rows)
		f.lines[0].cells = append(cells, f.lines[0].cells...)
	} else {
		f.lines = append([]flowLine{{cells: cells}}, f.lines...)
	}
	for _, c := range f.cursors {
		switch {
		case !joined:
			c.line++
		case c.line == 0:
			c.offset += len(cells)
		}
	}
	return f.breakLine(0) - before
}

// draw fills the new grid with the last rows, so that the cursor stays on the screen. The rows
// above go to the history.
func (f *flow) draw(total int) {
	g := &f.s.main
	saved, keys := g.saved, g.keys
	top := max(0, total-f.rows)
	if len(f.cursors) > 0 {
		top = min(top, f.rowOf(f.cursors[0]))
	}
	g.init(f.cols, f.rows)
	g.keys, g.saved = keys, saved
	y := -top
	for i := range f.lines {
		l := &f.lines[i]
		for n, start := range l.rows {
			end, wrapped := len(l.cells), n+1 < len(l.rows)
			if wrapped {
				end = l.rows[n+1]
			}
			f.drawRow(y, l.cells[start:end], wrapped)
			y++
		}
	}
	for _, c := range f.cursors {
		f.place(c, top)
	}
}

func (f *flow) drawRow(y int, cells []cell, wrapped bool) {
	g := &f.s.main
	switch {
	case y < 0:
		f.s.rememberCells(cells, wrapped)
	case y < f.rows:
		n := copy(g.row(y), cells)
		line := &g.lines[y]
		line.used, line.wrapped = int32(n), wrapped && y < f.rows-1
		line.short = line.wrapped && n < f.cols
		if last := &g.row(y)[n-min(n, 1)]; line.wrapped && last.blank() {
			last.glyph = ' ' // a gap that was never printed wraps like one that was
		}
		if f.cols == 1 && n == 1 && (cells[0].wide() || cells[0].tail()) {
			g.row(y)[0].glyph = ' ' // no room for either half
		}
	}
}

// rowOf returns the row of a cursor, counted from the first of all lines.
func (f *flow) rowOf(c *flowCursor) int {
	y := 0
	for i := range min(c.line, len(f.lines)) {
		y += len(f.lines[i].rows)
	}
	return y + f.rowIn(c)
}

// rowIn returns the row within its line that a cursor is in.
func (f *flow) rowIn(c *flowCursor) int {
	rows := f.lines[c.line].rows
	n := len(rows) - 1
	for n > 0 && rows[n] > c.offset {
		n--
	}
	return n
}

// place moves a cursor to its character, or after its line if it was there.
func (f *flow) place(c *flowCursor, top int) {
	l := &f.lines[c.line]
	x := c.offset - l.rows[f.rowIn(c)]
	c.cursor.pending = x == f.cols && c.offset <= len(l.cells) && f.s.modes.on(autoWrap)
	c.cursor.x = min(x, f.cols-1)
	y := f.rowOf(c) - top
	c.cursor.y = max(0, min(y, f.rows-1))
	c.cursor.pending = c.cursor.pending && c.cursor.y == y
}
