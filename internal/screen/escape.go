package screen

// escape executes an escape sequence that is not the start of a longer one.
func (s *Screen) escape(inter, final byte) {
	s.last = 0
	s.residueEscape(s.parser.lead, inter, final)
	switch inter {
	case 0:
		s.plainEscape(final)
	case '(', ')', '*', '+':
		s.charset.designate(int(inter-'('), final)
	case '#':
		if final == '8' {
			s.alignmentTest()
		}
	}
}

func (s *Screen) plainEscape(final byte) {
	switch final {
	case '7':
		s.save()
	case '8':
		s.restore()
	case 'D':
		s.pending = false
		s.index()
	case 'E':
		s.pending = false
		s.index()
		s.x = s.lineStart()
	case 'H':
		s.tabs[s.x] = true
	case 'M':
		s.reverseIndex()
	case 'N':
		s.charset.single = 2
	case 'O':
		s.charset.single = 3
	case 'n':
		s.charset.active = 2
	case 'o':
		s.charset.active = 3
	case 'c':
		s.fullReset()
	case '=':
		s.modes.set(keypadMode, true)
	case '>':
		s.modes.set(keypadMode, false)
	case '6':
		s.backIndex()
	case '9':
		s.forwardIndex()
	case 'Z':
		s.asked(AnswerAttributes, 1)
		s.answerIdentity(0)
	}
}

func (s *Screen) save() {
	s.cursor.origin = s.modes.on(originMode)
	s.g.saved = s.cursor
	s.g.saved.set = true
	s.g.saved.charset.single = 0
}

// restore moves the cursor to its saved position, or home if none was saved.
func (s *Screen) restore() {
	s.cursor = s.g.saved
	s.cursor.set = false
	s.x, s.y = min(s.x, s.cols-1), min(s.y, s.rows-1)
	s.pending = s.pends(s.g)
	s.modes.set(originMode, s.cursor.origin)
	if m := s.margin; s.cursor.origin && !s.inside() {
		s.x, s.y = max(m.left, min(s.x, m.right)), max(m.top, min(s.y, m.bottom))
		s.pending = false
	}
	s.penID = noID
}

// alignmentTest fills the screen with E.
func (s *Screen) alignmentTest() {
	s.margin = s.g.whole()
	s.modes.set(originMode, false)
	s.moveTo(0, 0)
	for y := range s.rows {
		s.g.clearRow(y, cell{glyph: 'E'})
	}
}

// backIndex moves left by a column. At the margin, it moves the content right instead.
func (s *Screen) backIndex() {
	s.pending = false
	switch {
	case s.x == s.margin.left:
		s.shift(-1)
	case s.x > 0:
		s.x--
	}
}

func (s *Screen) forwardIndex() {
	s.pending = false
	switch {
	case s.x == s.margin.right:
		s.shift(1)
	case s.x < s.cols-1:
		s.x++
	}
}

// shift moves the content within the margins left by n columns, or right if n is negative.
func (s *Screen) shift(n int) {
	if s.y < s.margin.top || s.y > s.margin.bottom {
		return
	}
	s.shiftFrom(s.margin.left, n)
}

// shiftFrom is shift for the columns from x on.
func (s *Screen) shiftFrom(x, n int) {
	s.pending = false
	for y := s.margin.top; y <= s.margin.bottom; y++ {
		if n > 0 {
			s.g.remove(y, x, s.margin.right+1, n, s.blank())
		} else {
			s.g.insert(y, x, s.margin.right+1, -n, s.blank())
		}
	}
}
