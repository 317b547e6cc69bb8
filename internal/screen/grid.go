package screen

// grid holds the cells of one screen. Rows are moved by moving their headers.
type grid struct {
	cols, rows int
	cells      []cell // in the order of row.at
	lines      []row
	spare      []row // for rotate
	saved      cursor
	keys       keyStack
}

// row is the header of one row.
type row struct {
	at   int32 // its cells begin at cells[at*cols]
	used int32 // cells from here on are zero
	// wrapped reports whether the text continues in the next row because there was no room. The
	// last cell is then printed, or short is set.
	wrapped bool
	short   bool // wrapped before the last column: a wide character had no room
}

// cursor is the state that DECSC saves.
type cursor struct {
	x, y    int
	pending bool // the last column is printed; the next character goes to the next row
	pen     style
	charset charsets
	origin  bool
	set     bool // something was saved
}

// pends reports whether the wrap is still pending: the character in the last column has not
// been erased since.
func (c *cursor) pends(g *grid) bool { return c.pending && !g.row(c.y)[c.x].blank() }

func (g *grid) init(cols, rows int) {
	g.cols, g.rows = cols, rows
	g.cells = make([]cell, cols*rows)
	g.lines = make([]row, rows)
	g.spare = make([]row, rows)
	for y := range g.lines {
		g.lines[y].at = int32(y)
	}
}

func (g *grid) row(y int) []cell {
	at := int(g.lines[y].at) * g.cols
	return g.cells[at : at+g.cols : at+g.cols]
}

// clearRow makes a row blank.
func (g *grid) clearRow(y int, blank cell) {
	cells, line := g.row(y), &g.lines[y]
	if blank == (cell{}) {
		clear(cells[:line.used])
		line.used = 0
	} else {
		fill(cells, blank)
		line.used = int32(g.cols)
	}
	line.wrapped, line.short = false, false
}

func fill(cells []cell, c cell) {
	for i := range cells {
		cells[i] = c
	}
}

// erase blanks the cells from column a to before b, and the other halves of wide characters
// that this cuts.
func (g *grid) erase(y, a, b int, blank cell) {
	if a >= b {
		return
	}
	g.cut(y, a)
	g.cut(y, b)
	g.wipe(y, a, b, blank)
}

// wipe is erase for a range that cuts no wide character.
func (g *grid) wipe(y, a, b int, blank cell) {
	cells, line := g.row(y), &g.lines[y]
	if blank == (cell{}) {
		if used := int(line.used); b >= used {
			b = used
			line.used = int32(min(a, used))
		}
		if a < b {
			clear(cells[a:b])
		}
	} else {
		fill(cells[a:b], blank)
		line.used = max(line.used, int32(b))
	}
	if cells[g.cols-1].blank() {
		line.wrapped, line.short = false, false
	}
}

// cut blanks a wide character that would be divided before column x.
func (g *grid) cut(y, x int) {
	if x <= 0 || x >= int(g.lines[y].used) {
		return
	}
	cells := g.row(y)
	if !cells[x].tail() {
		return
	}
	cells[x-1].glyph, cells[x].glyph = ' ', ' '
}

// box is a part of the screen, including its bounds.
type box struct{ top, bottom, left, right int }

func (g *grid) whole() box { return box{0, g.rows - 1, 0, g.cols - 1} }

func (g *grid) wide(b box) bool { return b.left == 0 && b.right == g.cols-1 }

// scroll moves the content of b up by n rows, or down if n is negative.
func (g *grid) scroll(b box, n int, blank cell) {
	height := b.bottom - b.top + 1
	n = max(-height, min(n, height))
	switch {
	case n == 0:
	case g.wide(b):
		g.rotate(b, n, blank)
	case n > 0:
		for y := b.top; y <= b.bottom; y++ {
			g.moveRow(y, y+n, b, blank)
		}
	default:
		for y := b.bottom; y >= b.top; y-- {
			g.moveRow(y, y+n, b, blank)
		}
	}
}

// moveRow copies row from to row y, within b's columns. If from is outside b, it blanks the
// row.
func (g *grid) moveRow(y, from int, b box, blank cell) {
	g.erase(y, b.left, b.right+1, blank)
	g.lines[y].wrapped, g.lines[y].short = false, false
	if from < b.top || from > b.bottom {
		return
	}
	g.cut(from, b.left)
	g.cut(from, b.right+1)
	copy(g.row(y)[b.left:b.right+1], g.row(from)[b.left:b.right+1])
	g.lines[y].used = max(g.lines[y].used, int32(b.right+1))
}

// rotate scrolls rows that are moved as a whole.
func (g *grid) rotate(b box, n int, blank cell) {
	lines := g.lines[b.top : b.bottom+1]
	if n > 0 {
		gone := g.spare[:copy(g.spare, lines[:n])]
		copy(lines, lines[n:])
		copy(lines[len(lines)-n:], gone)
		for y := b.bottom - n + 1; y <= b.bottom; y++ {
			g.clearRow(y, blank)
		}
	} else {
		n = -n
		gone := g.spare[:copy(g.spare, lines[len(lines)-n:])]
		copy(lines[n:], lines)
		copy(lines, gone)
		g.unwrap(b.bottom)
		for y := b.top; y < b.top+n; y++ {
			g.clearRow(y, blank)
		}
	}
	g.unwrap(b.top - 1)
}

// unwrap ends the line of row y there, because the row after it has been replaced.
func (g *grid) unwrap(y int) {
	if y >= 0 && y < g.rows {
		g.lines[y].wrapped, g.lines[y].short = false, false
	}
}

// insert moves the cells of row y from column x to the right by n, up to before column end.
// Cells that do not fit are lost.
func (g *grid) insert(y, x, end, n int, blank cell) {
	n = min(n, end-x)
	if n <= 0 {
		return
	}
	g.cut(y, x)
	g.cut(y, end-n)
	g.cut(y, end)
	cells := g.row(y)
	copy(cells[x+n:end], cells[x:end-n])
	g.lines[y].used = min(int32(g.cols), max(g.lines[y].used+int32(n), int32(x+n)))
	g.wipe(y, x, x+n, blank)
	if end == g.cols {
		g.unwrap(y)
	}
}

// remove removes n cells at column x, the opposite of insert.
func (g *grid) remove(y, x, end, n int, blank cell) {
	n = min(n, end-x)
	if n <= 0 {
		return
	}
	g.cut(y, x)
	g.cut(y, x+n)
	g.cut(y, end)
	cells := g.row(y)
	copy(cells[x:end-n], cells[x+n:end])
	g.wipe(y, end-n, end, blank)
	if end == g.cols {
		g.unwrap(y)
	}
}
