package screen

// The rows of the main screen have numbers that stay: the first row of all is 0, and
// those that have scrolled off count.

// Gone returns how many rows have left the main screen at its top: the number of its
// first row.
func (s *Screen) Gone() uint64 { return s.gone }

// Row appends row y of the main screen in the form that the history has, without
// what is not seen at its end; wrapped says that its line goes on in the next row.
func (s *Screen) Row(dst []byte, y int) (row []byte, wrapped bool) {
	s.encode(s.main.row(y)[:s.main.contentEnd(s.tables, y)], func(text []byte, _ bool) { dst = append(dst, text...) })
	return dst, s.main.lines[y].wrapped && y < s.rows-1
}

// Wrapped reports whether the line of row y of the main screen goes on in the next.
func (s *Screen) Wrapped(y int) bool { return s.main.lines[y].wrapped && y < s.rows-1 }

// EndLine ends the line of row y of the main screen there: it no longer goes on in the
// next row.
func (s *Screen) EndLine(y int) { s.main.lines[y].wrapped, s.main.lines[y].short = false, false }

// Blank reports whether nothing is seen in row y of the main screen.
func (s *Screen) Blank(y int) bool { return s.main.contentEnd(s.tables, y) == 0 }

// Used returns how many rows of the main screen there are down to the last in which
// something is seen.
func (s *Screen) Used() int {
	n := s.rows
	for n > 0 && s.Blank(n-1) {
		n--
	}
	return n
}

// Plaintext appends row y of the main screen without its styles.
func (s *Screen) Plaintext(dst []byte, y int) []byte {
	return s.rowText(dst, &s.main, y)
}

// CursorHidden reports whether the cursor is not shown.
func (s *Screen) CursorHidden() bool { return !s.modes.on(cursorShown) }

// AtRest reports whether what is printed next looks as it does in a new terminal.
func (s *Screen) AtRest() bool {
	return s.parser.state == ground && s.g == &s.main && s.pen == (style{}) && !s.charset.translates() &&
		!s.modes.on(insertMode) && s.modes.on(autoWrap)
}
