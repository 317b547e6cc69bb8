package screen

// Text appends the screen as plain text: a line for each row, without trailing spaces and
// without the empty rows at the bottom.
func (s *Screen) Text(dst []byte) []byte {
	last := s.rows - 1
	for last >= 0 && s.g.lines[last].used == 0 {
		last--
	}
	for y := 0; y <= last; y++ {
		dst = append(s.rowText(dst, s.g, y), '\n')
	}
	return dst
}

// LastLine returns the text of the last row that is not empty.
func (s *Screen) LastLine() string {
	for y := s.rows - 1; y >= 0; y-- {
		if text := s.rowText(nil, s.g, y); len(text) > 0 {
			return string(text)
		}
	}
	return ""
}

func (s *Screen) rowText(dst []byte, g *grid, y int) []byte {
	start := len(dst)
	for _, c := range g.row(y)[:g.lines[y].used] {
		if !c.tail() {
			dst = s.tables.appendGlyph(dst, c.glyph&^wideBit)
		}
	}
	for len(dst) > start && dst[len(dst)-1] == ' ' {
		dst = dst[:len(dst)-1]
	}
	return dst
}
