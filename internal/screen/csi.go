package screen

// csi executes a control sequence.
func (s *Screen) csi(final byte) {
	q := &s.parser
	switch final {
	case 'c', 'n', 'p', 'q', 't', 'u', 'w', 'x', 'y', 'm', 'S':
		if final != 'm' || q.private != 0 { // SGR is the most frequent of all
			s.askedCSI(final)
		}
	}
	switch final {
	case 'i', 't', 'T', 'm', 'n', 'f', 'q', 'p', 's', 'c', 'x', 'y', 'z', '}', '~':
		if q.private != 0 || q.inter != 0 || final == 'i' || final == 'q' || final == 't' {
			s.residueCSI(final)
		}
	}
	switch {
	case q.inter != 0:
		s.csiInter(q.private, q.inter, final)
	case q.private != 0:
		s.csiPrivate(q.private, final)
	default:
		if !s.csiMove(final) && !s.csiEdit(final) {
			s.csiOther(final)
		}
	}
	s.last = 0
}

// inside reports whether the cursor is within the margins.
func (s *Screen) inside() bool {
	m := s.margin
	return s.x >= m.left && s.x <= m.right && s.y >= m.top && s.y <= m.bottom
}

// csiMove executes the sequences that move the cursor.
func (s *Screen) csiMove(final byte) bool {
	p := &s.parser.params
	n := p.get(0, 1)
	switch final {
	case 'A':
		s.up(n)
	case 'B', 'e':
		s.down(n)
	case 'C', 'a':
		s.right(n)
	case 'D':
		s.left(n)
	case 'E':
		s.down(n)
		s.x = s.lineStart()
	case 'F':
		s.up(n)
		s.x = s.lineStart()
	case 'G', '`':
		s.moveTo(n-1+s.originX(), s.y)
	case 'H', 'f':
		s.moveTo(p.get(1, 1)-1+s.originX(), n-1+s.originY())
	case 'd':
		s.moveTo(s.x, n-1+s.originY())
	case 'I':
		s.tab(n)
	case 'Z':
		s.backTab(n)
	default:
		return false
	}
	return true
}

func (s *Screen) originX() int {
	if s.modes.on(originMode) {
		return s.margin.left
	}
	return 0
}

func (s *Screen) originY() int {
	if s.modes.on(originMode) {
		return s.margin.top
	}
	return 0
}

// moveTo moves the cursor, relative to the margins in origin mode.
func (s *Screen) moveTo(x, y int) {
	b := s.g.whole()
	if s.modes.on(originMode) {
		b = s.margin
	}
	s.x = max(b.left, min(x, b.right))
	s.y = max(b.top, min(y, b.bottom))
	s.pending = false
}

// The relative movements stop at the margins if they start within them.

func (s *Screen) up(n int) {
	top := 0
	if s.y >= s.margin.top {
		top = s.margin.top
	}
	s.y, s.pending = max(s.y-n, top), false
}

func (s *Screen) down(n int) {
	bottom := s.rows - 1
	if s.y <= s.margin.bottom {
		bottom = s.margin.bottom
	}
	s.y, s.pending = min(s.y+n, bottom), false
}

func (s *Screen) left(n int) {
	s.x, s.pending = max(s.x-n, s.lineStart()), false
}

func (s *Screen) right(n int) {
	s.x, s.pending = min(s.x+n, s.lineEnd()-1), false
}

// backspace moves left. With reverse wrap, it moves from the first column of a row to the last
// one of the row before.
func (s *Screen) backspace() {
	switch {
	case s.pending && s.modes.on(reverseWrap):
		s.pending = false
	case s.x > s.lineStart():
		s.left(1)
	case s.modes.on(reverseWrap) && s.modes.on(autoWrap) && s.y > s.margin.top:
		s.x, s.y = s.margin.right, s.y-1
	default:
		s.pending = false
	}
}

func (s *Screen) tab(n int) {
	end := s.lineEnd() - 1
	for ; n > 0 && s.x < end; n-- {
		for s.x++; s.x < end && !s.tabs[s.x]; s.x++ {
		}
	}
}

func (s *Screen) backTab(n int) {
	s.pending = false
	start := s.originX()
	for ; n > 0 && s.x > start; n-- {
		for s.x--; s.x > start && !s.tabs[s.x]; s.x-- {
		}
	}
}

// csiEdit executes the sequences that change the content of the screen.
func (s *Screen) csiEdit(final byte) bool {
	p := &s.parser.params
	n := p.get(0, 1)
	switch final {
	case '@', 'P':
		s.pending = false
		if !s.inside() {
			break
		}
		if final == '@' {
			s.g.insert(s.y, s.x, s.margin.right+1, n, s.blank())
		} else {
			s.g.remove(s.y, s.x, s.margin.right+1, n, s.blank())
		}
	case 'J':
		s.eraseDisplay(p.get(0, 0))
	case 'K':
		s.eraseLine(p.get(0, 0))
	case 'L', 'M':
		s.insertLines(n, final == 'L')
	case 'S':
		s.scroll(n)
	case 'T':
		if p.n <= 1 {
			s.scroll(-n)
		}
	case 'X':
		s.pending = false
		s.g.erase(s.y, s.x, min(s.cols, s.x+n), s.blank())
	case 'b':
		s.repeat(n)
	default:
		return false
	}
	return true
}

// scroll executes SU, or SD if n is negative.
func (s *Screen) scroll(n int) {
	s.pending = false
	if s.margin.bottom < s.rows-1 {
		s.g.unwrap(s.margin.bottom)
	}
	if n > 0 {
		s.scrollUp(s.margin, n)
	} else {
		s.scrollDown(s.margin, -n)
	}
}

func (s *Screen) insertLines(n int, insert bool) {
	s.pending = false
	if !s.inside() {
		return
	}
	b := s.margin
	b.top = s.y
	s.g.unwrap(b.bottom)
	if insert {
		s.scrollDown(b, n)
	} else {
		s.endHistory(b.top)
		s.g.scroll(b, n, s.blank())
	}
	s.x = s.lineStart()
}

func (s *Screen) eraseDisplay(what int) {
	s.pending = s.pending && what == 0 // see eraseLine
	switch what {
	case 0:
		s.eraseLine(0)
		s.clearRows(s.y+1, s.rows)
	case 1:
		s.clearRows(0, s.y)
		s.eraseLine(1)
	case 2:
		s.clearRows(0, s.rows)
	case 3:
		s.history.clear()
	}
}

func (s *Screen) clearRows(from, to int) {
	s.g.unwrap(from - 1)
	if from < to {
		s.endHistory(from)
	}
	blank := s.blank()
	for y := from; y < to; y++ {
		s.g.clearRow(y, blank)
	}
}

// eraseLine executes EL. After the last column, with the wrap pending, nothing is right of the
// cursor. Programs that fill a row and then erase the rest of it expect that, and tmux, kitty,
// VTE and Alacritty agree (xterm erases the last character). If all of a row is erased, by
// whatever parameter, a line that continues into the row ends in the row above.
func (s *Screen) eraseLine(what int) {
	if what == 0 && s.pending {
		return
	}
	s.pending = false
	from, to := 0, s.cols
	switch what {
	case 0:
		from = s.x
	case 1:
		to = s.x + 1
	case 2:
	default:
		return
	}
	if from == 0 && to == s.cols {
		s.g.unwrap(s.y - 1)
		s.endHistory(s.y)
	}
	s.g.erase(s.y, from, to, s.blank())
}

// csiOther executes the sequences that change modes, and answers questions.
func (s *Screen) csiOther(final byte) {
	p := &s.parser.params
	switch final {
	case 'm':
		s.sgr(p)
	case 'h', 'l':
		for i := range p.n {
			s.setANSI(p.v[i], final == 'h')
		}
	case 'r':
		s.setMargins(p.get(0, 1)-1, p.get(1, s.rows)-1)
	case 's':
		if s.modes.on(sideMargins) {
			s.setSideMargins(p.get(0, 1)-1, p.get(1, s.cols)-1)
		} else if p.n == 0 {
			s.save()
		}
	case 'u':
		s.restore()
	case 'g':
		switch p.get(0, 0) {
		case 0:
			s.tabs[s.x] = false
		case 3:
			clear(s.tabs)
		}
	case 'c':
		s.answerIdentity(0)
	case 'n':
		s.answerStatus(0, p.get(0, 0))
	case 't':
		s.window(p)
	}
}

func (s *Screen) setMargins(top, bottom int) {
	bottom = min(bottom, s.rows-1)
	if top >= bottom {
		return
	}
	s.margin.top, s.margin.bottom = top, bottom
	s.moveTo(s.originX(), s.originY())
}

func (s *Screen) setSideMargins(left, right int) {
	right = min(right, s.cols-1)
	if left >= right {
		return
	}
	s.margin.left, s.margin.right = left, right
	s.moveTo(s.originX(), s.originY())
}

// csiPrivate executes the sequences with a sign before their parameters.
func (s *Screen) csiPrivate(private, final byte) {
	p := &s.parser.params
	switch {
	case private == '?' && (final == 'h' || final == 'l'):
		for i := range p.n {
			s.setMode(p.v[i], final == 'h')
		}
	case private == '?' && (final == 's' || final == 'r'):
		for i := range p.n {
			s.keepMode(p.v[i], final == 's')
		}
	case private == '?' && final == 'J':
		s.eraseDisplay(p.get(0, 0))
	case private == '?' && final == 'K':
		s.eraseLine(p.get(0, 0))
	case private == '?' && final == 'W' && p.get(0, 0) == 5:
		s.resetTabs()
	case private == '?' && final == 'n':
		s.answerStatus('?', p.get(0, 0))
	case final == 'u':
		s.keyboard(private, p)
	case private == '>' && final == 'm' && p.get(0, 0) == 4:
		s.modes.otherKeys = uint8(min(p.get(1, 0), 3))
	case private == '>' && final == 'n' && p.get(0, 0) == 4:
		s.modes.otherKeys = 0
	case private == '>' && final == 'q':
		s.answerName()
	case final == 'c':
		s.answerIdentity(private)
	}
}

// csiInter executes the sequences with a sign before their last character.
func (s *Screen) csiInter(private, inter, final byte) {
	p := &s.parser.params
	n := p.get(0, 1)
	switch string([]byte{inter, final}) {
	case "!p":
		s.softReset()
	case " q":
		s.modes.shape = uint8(min(p.get(0, 0), 6))
	case " @":
		s.shift(n)
	case " A":
		s.shift(-n)
	case "'}":
		if s.inside() {
			s.shiftFrom(s.x, -n)
		}
	case "'~":
		if s.inside() {
			s.shiftFrom(s.x, n)
		}
	case "$p":
		s.answerMode(private, p.get(0, 0))
	}
}
