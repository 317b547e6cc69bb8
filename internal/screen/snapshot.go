package screen

// Snapshot appends bytes that bring another terminal of this size, which is at rest, into the
// state of this one: the content of both screens, modes, margins, tab stops, saved cursors,
// title and cursor. They do not change its scrollback. Undo brings a terminal to rest that has
// shown this screen before.
//
// Synchronised output is never set: if the job hung, the terminal would hang, too.
func (s *Screen) Snapshot(dst []byte) []byte {
	d := s.begin(dst)
	d.add("\x1b[H\x1b[2J")
	d.screen(&s.main, true)
	return s.finish(d)
}

// Attach appends the last n lines of the history and then a snapshot. The terminal's old
// content and the history scroll up into its own scrollback. The terminal's cursor must be in
// the first column of an empty line, with only empty lines below.
func (s *Screen) Attach(dst []byte, n int) []byte {
	d := s.begin(dst)
	d.add("\x1b[J")
	d.dst = s.History(d.dst, n)
	if n > 0 && s.history.open() {
		d.add("\r\n") // the line continues, but its rows may have had another width
	}
	d.screen(&s.main, false)
	return s.finish(d)
}

// Crop appends bytes that draw the part of the screen that fits on a terminal of another size,
// which is at rest. The part contains the cursor. Besides the picture, they change only the
// title and the visibility of the cursor.
func (s *Screen) Crop(dst []byte, cols, rows int) []byte {
	cols, rows = Bound(cols, rows)
	left, top := max(0, s.x-cols+1), max(0, s.y-rows+1)
	d := s.begin(appendMode(dst, syncOutput, true))
	if s.titles.title != "" {
		d.dst = appendOSC(d.dst, 2, s.titles.title)
	}
	room := make([]cell, 0, cols)
	for y := range rows {
		d.move(0, y)
		if top+y < s.rows {
			room = d.crop(room[:0], s.g.row(top+y), left, cols)
			d.row(room, cols, false)
		}
		d.style(style{})
		if top+y >= s.rows || len(room) < cols {
			d.add("\x1b[K")
		}
	}
	d.move(s.x-left, s.y-top)
	d.dst = appendMode(d.dst, cursorShown, s.modes.on(cursorShown))
	return appendMode(d.dst, syncOutput, false)
}

// crop appends at most most cells of a row from column left on, without trailing zero cells and
// cut halves of characters.
func (d *drawing) crop(dst, row []cell, left, most int) []cell {
	row = row[min(left, len(row)):]
	dst = append(dst, row[:min(most, len(row))]...)
	if len(dst) > 0 && dst[0].tail() {
		dst[0] = cell{style: dst[0].style}
	}
	if n := len(dst); n > 0 && dst[n-1].wide() {
		dst[n-1] = cell{style: dst[n-1].style}
	}
	for n := len(dst); n > 0 && dst[n-1] == (cell{}); n-- {
		dst = dst[:n-1]
	}
	return dst
}

// drawing writes a snapshot. It tracks the terminal's cursor and style.
type drawing struct {
	s    *Screen
	dst  []byte
	pen  style
	sets [4]byte // the character sets
}

func (d *drawing) add(text string) { d.dst = append(d.dst, text...) }

func (d *drawing) number(before string, n int, after string) {
	d.dst = appendNumber(append(d.dst, before...), n, after)
}

// move moves the cursor to a position that is counted from 0.
func (d *drawing) move(x, y int) {
	d.number("\x1b[", y+1, "")
	d.number(";", x+1, "H")
}

func (d *drawing) style(y style) {
	d.dst = d.s.tables.appendStyle(d.dst, d.pen, y)
	d.pen = y
}

// begin brings the terminal into the state that drawing relies on.
func (s *Screen) begin(dst []byte) *drawing {
	d := &drawing{s: s, dst: dst}
	d.add("\x1b[!p\x1b[m\x1b[r\x1b[4l\x1b[20l\x1b[?6l\x1b[?69l\x1b[?7h\x1b(B\x0f")
	return d
}

// screen draws the rows of a grid: each at its position, or one after the other from the cursor
// on.
func (d *drawing) screen(g *grid, placed bool) {
	joined := false // the row continues the one before
	for y := range g.rows {
		cells := d.printed(g, y)
		switch {
		case joined:
		case placed && len(cells) == 0:
			continue
		case placed:
			d.move(0, y)
		case y > 0:
			d.style(style{})
			d.add("\r\n")
		}
		if joined {
			d.wrapInto(g, y, len(cells) == 0)
		}
		d.row(cells, g.cols, placed)
		if n := len(cells); joined && !placed && n > 0 && n < g.cols {
			d.style(style{})
			d.add("\x1b[K") // wrapping may have scrolled and coloured the new row
		}
		joined = d.wraps(g, y)
	}
	d.style(style{})
}

// wraps reports whether the line of row y continues in the next.
func (d *drawing) wraps(g *grid, y int) bool { return g.lines[y].wrapped && y < g.rows-1 }

// wrapInto makes the terminal wrap into row y where the content would not: it prints a
// character that wraps, and erases it.
func (d *drawing) wrapInto(g *grid, y int, empty bool) {
	short := g.lines[y-1].short
	first := d.s.tables.first(g.row(y)[0].glyph)
	if continuesRune(first) || pictograph(first) {
		d.add("\x1b[20l") // is the state already, but separates the next character from the ones before
	}
	// The rest is erased first: erasing the whole row would end the line above it.
	switch {
	case short && runeWidth(first) != 2:
		d.style(style{})
		d.add("\u3000\x1b[K\r\x1b[2X") // a wide space
	case !short && empty:
		d.style(style{})
		d.add(" \x1b[K\r\x1b[X")
	}
}

// printed returns the cells of row y that must be drawn.
func (d *drawing) printed(g *grid, y int) []cell {
	if d.wraps(g, y) {
		if g.lines[y].short {
			return g.row(y)[:g.cols-1]
		}
		return g.row(y)
	}
	n := int(g.lines[y].used)
	for n > 0 && g.row(y)[n-1] == (cell{}) {
		n--
	}
	return g.row(y)[:n]
}

func (d *drawing) row(cells []cell, cols int, placed bool) {
	for x := 0; x < len(cells); x++ {
		c := cells[x]
		if c == (cell{}) && placed && x > 0 {
			if n := zeros(cells[x:]); n > 4 {
				d.number("\x1b[", x+n+1, "G")
				x += n - 1
				continue
			}
		}
		if c.tail() {
			continue
		}
		d.style(d.s.tables.styles[c.style])
		d.glyph(c, x, cols)
	}
}

// zeros counts the leading zero cells.
func zeros(cells []cell) int {
	for n, c := range cells {
		if c != (cell{}) {
			return n
		}
	}
	return len(cells)
}

// glyph prints a character. Terminals disagree on the width of emoji and other characters of
// several code points, so the cursor is moved to the column of the next character.
func (d *drawing) glyph(c cell, x, cols int) {
	if x > 0 && continuesRune(d.s.tables.first(c.glyph)) {
		d.number("\x1b[", x+1, "G") // separates it from the character before
	}
	d.dst = d.s.tables.appendGlyph(d.dst, c.glyph&^wideBit)
	if c.glyph&clusterBit == 0 && c.glyph&glyphMask < 0x1f000 {
		return
	}
	next := x + 1
	if c.wide() {
		next++
	}
	if next < cols {
		d.number("\x1b[", next+1, "G")
	}
}

// finish sets the state that is not drawn.
func (s *Screen) finish(d *drawing) []byte {
	d.titles(&s.titles)
	d.dst = s.state.append(d.dst)
	d.tabs()
	d.keys(&s.main.keys)
	if s.Alternate() {
		d.cursor(&s.main, &s.main.saved, true)
		d.number("\x1b[?", int(s.modes.alternate), "h")
		d.style(style{})
		d.charset(charsets{})
		d.add("\x1b[H\x1b[2J")
		d.screen(&s.alt, true)
		d.keys(&s.alt.keys)
	}
	d.modes()
	d.cursor(s.g, &s.g.saved, true) // before the margins, as it may be outside of them
	d.margins()
	now := s.cursor
	now.origin = s.modes.on(originMode)
	now.set = true
	d.cursor(s.g, &now, false)
	if !s.modes.on(autoWrap) {
		d.dst = appendMode(d.dst, autoWrap, false)
	}
	if s.modes.on(insertMode) {
		d.dst = appendMode(d.dst, insertMode, true)
	}
	return d.dst
}

func (d *drawing) titles(t *titles) {
	for _, pushed := range t.stack {
		d.dst = appendOSC(d.dst, 2, pushed)
		d.add("\x1b[22;2t")
	}
	if t.title != "" || len(t.stack) > 0 {
		d.dst = appendOSC(d.dst, 2, t.title)
	}
}

// tabs sets the tab stops, if they are not those of a new terminal.
func (d *drawing) tabs() {
	if d.s.usualTabs() {
		return
	}
	d.add("\x1b[3g")
	for x, stop := range d.s.tabs {
		if stop {
			d.number("\x1b[", x+1, "G\x1bH")
		}
	}
}

func (d *drawing) keys(k *keyStack) {
	for _, flags := range k.flags[:k.n] {
		d.number("\x1b[>", int(flags), "u")
	}
}

// modes sets all modes except those that affect the cursor. The mouse mode in force comes last.
func (d *drawing) modes() {
	const later = 1<<originMode | 1<<autoWrap | 1<<insertMode | 1<<syncOutput | mouseReports
	m := &d.s.modes
	changed := (m.bits ^ restBits) &^ later
	for which := range modeCount {
		if changed&bit(which) != 0 {
			d.dst = appendMode(d.dst, which, m.on(which))
		}
	}
	if m.mouse != 0 {
		d.dst = appendMode(d.dst, m.mouse, true)
	}
	if m.otherKeys != 0 {
		d.number("\x1b[>4;", int(m.otherKeys), "m")
	}
	if m.shape != 0 {
		d.number("\x1b[", int(m.shape), " q")
	}
}

func (d *drawing) margins() {
	m, whole := d.s.margin, d.s.g.whole()
	if m.top != whole.top || m.bottom != whole.bottom {
		d.number("\x1b[", m.top+1, "")
		d.number(";", m.bottom+1, "r")
	}
	if m.left != whole.left || m.right != whole.right {
		d.number("\x1b[", m.left+1, "")
		d.number(";", m.right+1, "s")
	}
}

// cursor moves the cursor, with its attributes, and saves it if save is set. g is the screen
// that is shown.
func (d *drawing) cursor(g *grid, c *cursor, save bool) {
	if !c.set {
		return
	}
	d.dst = appendMode(d.dst, originMode, c.origin)
	x, y := c.x, c.y
	if c.origin && !save {
		x, y = x-d.s.margin.left, y-d.s.margin.top
	}
	d.move(x, y)
	if c.pends(g) {
		d.charset(charsets{})
		d.pend(g.row(c.y), c.x, x, y)
	}
	d.style(c.pen)
	d.charset(c.charset)
	if save {
		d.add("\x1b7")
	}
}

func (d *drawing) charset(c charsets) {
	for i, set := range c.set {
		if set != d.sets[i] {
			d.sets[i] = set
			if set == 0 {
				set = 'B'
			}
			d.dst = append(d.dst, 0x1b, "()*+"[i], set)
		}
	}
	d.add([]string{"\x0f", "\x0e", "\x1bn", "\x1bo"}[c.active])
	switch c.single {
	case 2:
		d.add("\x1bN")
	case 3:
		d.add("\x1bO")
	}
}

// pend prints the last character of a row again, in column last, so that the next one wraps. x
// and y are its position relative to the origin.
func (d *drawing) pend(cells []cell, last, x, y int) {
	c := cells[last]
	if c.tail() {
		d.move(x-1, y)
		c = cells[last-1]
	}
	d.style(d.s.tables.styles[c.style])
	d.dst = d.s.tables.appendGlyph(d.dst, c.glyph&^wideBit)
}
