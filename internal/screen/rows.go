package screen

// The rows of the main screen have permanent numbers: the first row of all is 0, and rows that
// have scrolled off count.

// Gone returns the number of rows that have left the main screen at its top, which is the
// number of its first row.
func (s *Screen) Gone() uint64 { return s.gone }

// Row appends row y of the main screen in the form of the history, without its invisible end.
// wrapped reports whether its line continues in the next row.
func (s *Screen) Row(dst []byte, y int) (row []byte, wrapped bool) {
	s.encode(s.main.row(y)[:s.main.contentEnd(s.tables, y)], func(text []byte, _ bool) { dst = append(dst, text...) })
	return dst, s.main.lines[y].wrapped && y < s.rows-1
}

// Wrapped reports whether the line of row y of the main screen continues in the next.
func (s *Screen) Wrapped(y int) bool { return s.main.lines[y].wrapped && y < s.rows-1 }

// EndLine ends the line of row y of the main screen there, so that it no longer continues in
// the next row.
func (s *Screen) EndLine(y int) { s.main.lines[y].wrapped, s.main.lines[y].short = false, false }

// Blank reports whether row y of the main screen looks empty.
func (s *Screen) Blank(y int) bool { return s.main.contentEnd(s.tables, y) == 0 }

// Used returns the number of rows of the main screen down to the last one that does not look
// empty.
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

// CursorHidden reports whether the cursor is hidden.
func (s *Screen) CursorHidden() bool { return !s.modes.on(cursorShown) }

// AtRest reports whether the next output looks as it does in a new terminal.
func (s *Screen) AtRest() bool {
	return s.parser.state == ground && s.g == &s.main && s.pen == (style{}) && !s.charset.translates() &&
		!s.modes.on(insertMode) && s.modes.on(autoWrap)
}
