package screen

import "unicode/utf8"

// printASCII prints characters from space to tilde.
func (s *Screen) printASCII(p []byte) {
	if s.charset.translates() || s.modes.on(insertMode) {
		for _, c := range p {
			s.print(rune(c))
		}
		return
	}
	id := s.style()
	for len(p) > 0 {
		if s.pending {
			s.wrap()
		}
		end := s.lineEnd()
		n := min(len(p), end-s.x)
		s.put(p[:n], id)
		s.advance(n, end)
		s.last = uint32(p[n-1])
		p = p[n:]
	}
}

// put overwrites cells of the cursor's row, starting at the cursor.
func (s *Screen) put(p []byte, id uint32) {
	g, x := s.g, s.x
	line := &g.lines[s.y]
	cells := g.row(s.y)
	if x < int(line.used) {
		g.cut(s.y, x)
		g.cut(s.y, x+len(p))
	}
	out := cells[x : x+len(p)]
	out = out[:len(p)] // eliminates the bounds check of each iteration
	for i, c := range p {
		out[i] = cell{uint32(c), id}
	}
	if line.used = max(line.used, int32(x+len(p))); x+len(p) == s.cols {
		line.short = false
	}
}

// lineEnd returns the column after the last one that the cursor can print in.
func (s *Screen) lineEnd() int {
	if s.x > s.margin.right {
		return s.cols
	}
	return s.margin.right + 1
}

// advance moves the cursor over n printed columns. At the end, it stays in the last column with
// the wrap pending.
func (s *Screen) advance(n, end int) {
	if s.x += n; s.x >= end {
		s.x = end - 1
		s.pending = s.modes.on(autoWrap)
	}
}

// wrap moves to the next row, where the text continues.
func (s *Screen) wrap() {
	s.pending = false
	if s.margin.left == 0 && s.x == s.cols-1 {
		line := &s.g.lines[s.y]
		line.wrapped = line.short || !s.g.row(s.y)[s.x].blank()
	}
	s.index()
	s.x = s.lineStart()
}

// lineStart returns the column that a carriage return moves to.
func (s *Screen) lineStart() int {
	if s.x >= s.margin.left {
		return s.margin.left
	}
	return 0
}

// index moves down a row, and scrolls at the bottom margin.
func (s *Screen) index() {
	switch {
	case s.y == s.margin.bottom:
		if s.x >= s.margin.left && s.x <= s.margin.right {
			s.scrollUp(s.margin, 1)
		}
	case s.y < s.rows-1:
		s.y++
	}
}

// reverseIndex moves up a row, and scrolls at the top margin.
func (s *Screen) reverseIndex() {
	s.pending = false
	switch {
	case s.y == s.margin.top:
		if s.x >= s.margin.left && s.x <= s.margin.right {
			s.scrollDown(s.margin, 1)
		}
	case s.y > 0:
		s.y--
	}
}

// print prints one code point.
func (s *Screen) print(r rune) {
	r = s.charset.translate(r)
	w := runeWidth(r)
	switch {
	case w < 0:
		return
	case w == 0 || s.last&clusterBit != 0 || continuesRune(r):
		if s.join(r, w) || w == 0 {
			return
		}
	}
	glyph := uint32(r)
	if w == 2 {
		glyph |= wideBit
	}
	s.printGlyph(glyph)
}

// printGlyph prints a glyph that has a width.
func (s *Screen) printGlyph(glyph uint32) {
	w := 1
	if glyph&wideBit != 0 {
		w = 2
	}
	if s.pending {
		s.wrap()
	}
	end := s.lineEnd()
	if s.x+w > end {
		if !s.modes.on(autoWrap) || w > end-s.lineStart() {
			return
		}
		if end == s.cols && s.margin.left == 0 {
			s.leaveGap()
		}
		s.x = end - 1
		s.wrap()
		end = s.lineEnd()
	}
	g := s.g
	if s.modes.on(insertMode) {
		g.insert(s.y, s.x, end, w, s.blank())
	}
	id := s.style()
	cells, line := g.row(s.y), &g.lines[s.y]
	if s.x < int(line.used) {
		g.cut(s.y, s.x)
		g.cut(s.y, s.x+w)
	}
	cells[s.x] = cell{glyph, id}
	if w == 2 {
		cells[s.x+1] = cell{tail, id}
	}
	line.used = max(line.used, int32(s.x+w))
	if s.x+w == s.cols {
		line.short = false
	}
	s.last = glyph
	s.advance(w, end)
}

// leaveGap prepares the cursor's row for a wrap before its last column.
func (s *Screen) leaveGap() {
	if last := &s.g.row(s.y)[s.cols-1]; *last == (cell{}) {
		s.g.lines[s.y].short = true
	} else if last.blank() {
		last.glyph = ' ' // coloured
	}
}

const (
	joiner       = 0x200d // zero width joiner
	emojiVariant = 0xfe0f
)

// join adds a code point to the character before the cursor, if it belongs to it: an accent,
// the next part of an emoji, the second letter of a flag.
func (s *Screen) join(r rune, w int) bool {
	s.collect()
	x, ok := s.before()
	if !ok {
		return false
	}
	cells := s.g.row(s.y)
	c := &cells[x]
	if w != 0 && (s.last == 0 || !s.continues(c.glyph, r)) {
		return false
	}
	before := rune(c.glyph & glyphMask)
	widens := !c.wide() && (w != 0 || r == emojiVariant && c.glyph&clusterBit == 0 && isEmoji(before))
	if widens && (s.pending || x+2 > s.lineEnd()) {
		return w == 0 // no room: the variant is dropped, the letter goes to the next row
	}
	var buf [maxClusterSize]byte
	text := s.tables.appendGlyph(buf[:0], c.glyph&^wideBit)
	if len(text)+utf8.RuneLen(r) > maxClusterSize {
		return true
	}
	glyph, ok := s.tables.cluster(utf8.AppendRune(text, r))
	if !ok {
		return true
	}
	c.glyph = glyph | c.glyph&wideBit
	if widens {
		s.widen(x) // a flag, or a character that is an emoji now
	}
	s.last = c.glyph
	return true
}

// before returns the column of the character before the cursor, if there is one.
func (s *Screen) before() (x int, ok bool) {
	x = s.x - 1
	if s.pending {
		x = s.x
	}
	if x < 0 {
		return 0, false
	}
	cells := s.g.row(s.y)
	if cells[x].tail() && x > 0 {
		x--
	}
	return x, !cells[x].blank()
}

// continues reports whether r, which has a width, is a part of the character before.
func (s *Screen) continues(glyph uint32, r rune) bool {
	if isRegional(r) {
		return glyph&glyphMask == glyph && isRegional(rune(glyph))
	}
	if isSkin(r) {
		return glyph&wideBit != 0
	}
	if glyph&clusterBit == 0 {
		return false
	}
	text := s.tables.clusters[glyph&glyphMask]
	last, _ := utf8.DecodeLastRuneInString(text)
	return last == joiner && pictograph(r)
}

// isRegional reports whether r is a letter of a flag, isSkin whether it is a skin colour.
func isRegional(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }
func isSkin(r rune) bool     { return r >= 0x1f3fb && r <= 0x1f3ff }

// continuesRune reports whether r may be a part of the character before, although it has a
// width.
func continuesRune(r rune) bool { return isRegional(r) || isSkin(r) }

// widen makes the character in column x take two columns.
func (s *Screen) widen(x int) {
	end := s.lineEnd()
	g := s.g
	if s.modes.on(insertMode) {
		g.insert(s.y, x+1, end, 1, s.blank())
	}
	g.cut(s.y, x+2)
	cells := g.row(s.y)
	cells[x].glyph |= wideBit
	cells[x+1] = cell{tail, cells[x].style}
	g.lines[s.y].used = max(g.lines[s.y].used, int32(x+2))
	s.advance(1, end)
}

// repeat executes REP.
func (s *Screen) repeat(n int) {
	s.style() // may give s.last another number
	if s.last == 0 {
		return
	}
	for range min(n, s.cols*s.rows) {
		s.printGlyph(s.last)
	}
}
