package screen

import "slices"

// history holds the rows that have scrolled off the main screen, oldest first. A row is text
// with the sequences that style it, complete in itself. A wrapped row continues in the next.
//
// It is kept in pieces of one size without pointers. The memory of the oldest piece is reused,
// so that nothing is moved and there is nothing for the collector. In a piece, each row has its
// length and its wrapped bit before and after it, so that it can be found from both ends.
type history struct {
	lines, bytes int // bounds
	pieces       []piece
	count        int // of lines, not rows
	buf          []byte
}

type piece struct {
	data  []byte
	lines int
}

const (
	pieceSize   = 64 << 10
	maxRow      = 1<<15 - 1 // bytes of a row: its length has 15 bits
	rowOverhead = 4
)

// add appends a row.
func (h *history) add(text []byte, wrapped bool) {
	if h.lines < 0 {
		return
	}
	need := len(text) + rowOverhead
	if n := len(h.pieces); n == 0 || len(h.pieces[n-1].data)+need > pieceSize {
		h.addPiece()
	}
	p := &h.pieces[len(h.pieces)-1]
	header := uint16(len(text)) << 1
	if wrapped {
		header |= 1
	} else {
		p.lines++
		h.count++
	}
	p.data = append(p.data, byte(header>>8), byte(header))
	p.data = append(p.data, text...)
	p.data = append(p.data, byte(header>>8), byte(header))
}

// addPiece begins a piece. If there are enough, it reuses the memory of the oldest.
func (h *history) addPiece() {
	var data []byte
	for len(h.pieces) > 0 && (len(h.pieces)*pieceSize >= h.bytes || h.count-h.pieces[0].lines >= h.lines) {
		data = h.pieces[0].data[:0]
		h.count -= h.pieces[0].lines
		h.pieces = append(h.pieces[:0], h.pieces[1:]...)
	}
	if data == nil && len(h.pieces) > 0 {
		data = make([]byte, 0, pieceSize)
	}
	h.pieces = append(h.pieces, piece{data: data})
}

// pop removes the last row and returns it. It is valid until the next change.
func (h *history) pop() (text []byte, wrapped, ok bool) {
	for len(h.pieces) > 0 {
		p := &h.pieces[len(h.pieces)-1]
		n := len(p.data)
		if n == 0 {
			h.pieces = h.pieces[:len(h.pieces)-1]
			continue
		}
		length, wrapped := rowHeader(p.data[n-2:])
		text = p.data[n-2-length : n-2]
		p.data = p.data[:n-rowOverhead-length]
		if !wrapped {
			p.lines--
			h.count--
		}
		return text, wrapped, true
	}
	return nil, false, false
}

// open reports whether the last row is wrapped: the next row continues its line.
func (h *history) open() bool {
	for i := len(h.pieces) - 1; i >= 0; i-- {
		if data := h.pieces[i].data; len(data) > 0 {
			_, wrapped := rowHeader(data[len(data)-2:])
			return wrapped
		}
	}
	return false
}

// close ends the last line: the next row begins another.
func (h *history) close() {
	if h.open() {
		text, _, _ := h.pop()
		h.add(slices.Clone(text), false)
	}
}

func (h *history) clear() { h.pieces, h.count = nil, 0 }

func rowHeader(p []byte) (length int, wrapped bool) {
	header := uint16(p[0])<<8 | uint16(p[1])
	return int(header >> 1), header&1 != 0
}

// last returns the pieces that hold the last n lines, and the number of lines in them before
// those.
func (h *history) last(n int) (pieces []piece, before int) {
	first, before := len(h.pieces), -n
	for first > 0 && before < 0 {
		first--
		before += h.pieces[first].lines
	}
	return h.pieces[first:], before
}

// nextRow splits off the first row of a piece.
func nextRow(data []byte) (text []byte, wrapped bool, rest []byte) {
	length, wrapped := rowHeader(data)
	return data[2 : 2+length], wrapped, data[length+rowOverhead:]
}

// skipLines skips the first n lines. It returns the number of lines that data lacks.
func skipLines(data []byte, n int) (rest []byte, left int) {
	for n > 0 && len(data) > 0 {
		var wrapped bool
		if _, wrapped, data = nextRow(data); !wrapped {
			n--
		}
	}
	return data, max(0, n)
}

// remember adds row y of the main screen to the history.
func (s *Screen) remember(y int) {
	s.rememberCells(s.main.row(y)[:s.main.contentEnd(s.tables, y)], s.main.lines[y].wrapped)
}

func (s *Screen) rememberCells(cells []cell, wrapped bool) {
	if s.history.lines < 0 && s.options.Scrolled == nil {
		s.gone++
		return
	}
	s.encode(cells, func(text []byte, more bool) {
		s.history.add(text, more || wrapped)
		if s.options.Scrolled != nil {
			s.options.Scrolled(text, more || wrapped)
		}
	})
	s.gone++
}

// encode calls use with the text of a row, in parts if it is too long for one. more is set if
// another part follows.
func (s *Screen) encode(cells []cell, use func(text []byte, more bool)) {
	buf := s.history.buf[:0]
	var pen uint32
	for len(cells) > 0 {
		if c := cells[0]; c.style != pen {
			buf = s.tables.appendSequence(buf, pen, c.style)
			pen = c.style
		}
		n := 0
		if buf, n = appendLetters(buf, cells); n == 0 {
			if !cells[0].tail() {
				buf = s.tables.appendGlyph(buf, cells[0].glyph)
			}
			n = 1
		}
		cells = cells[n:]
		if len(buf) > maxRow/2 && len(cells) > 0 {
			buf = s.tables.appendSequence(buf, pen, 0)
			use(buf, true)
			buf, pen = buf[:0], 0
		}
	}
	if pen != 0 {
		buf = s.tables.appendSequence(buf, pen, 0)
	}
	use(buf, false)
	if cap(buf) > pieceSize {
		buf = nil
	}
	s.history.buf = buf
}

// appendLetters appends the leading cells that are ASCII and of one style, and returns their
// number.
func appendLetters(dst []byte, cells []cell) ([]byte, int) {
	start := len(dst)
	dst = slices.Grow(dst, len(cells))
	out := dst[start : start+len(cells)]
	pen := cells[0].style
	for i, c := range cells {
		if c.glyph-1 >= 0x7f || c.style != pen {
			return dst[:start+i], i
		}
		out[i] = byte(c.glyph)
	}
	return dst[:start+len(cells)], len(cells)
}

// decode is the inverse of encode for one part.
func (s *Screen) decode(text []byte) []cell {
	d := &Screen{content: content{tables: s.tables, cols: maxCols, rows: 1, shared: true}, options: Options{Lines: -1}}
	d.history.lines = -1
	d.main.init(d.cols, d.rows)
	d.g = &d.main
	d.reset()
	_, _ = d.Write(text)
	n := d.x
	if d.pending {
		n++
	}
	return d.main.row(0)[:n]
}

// contentEnd returns the column after the last visible one. In a wrapped row, it includes
// columns that belong to the line.
func (g *grid) contentEnd(t *tables, y int) int {
	line, cells := g.lines[y], g.row(y)
	end := int(line.used)
	switch {
	case line.short:
		return g.cols - 1
	case line.wrapped:
		return g.cols
	}
	for end > 0 && seenNot(t, cells[end-1]) {
		end--
	}
	return end
}

// seenNot reports whether a cell looks as if it had never been printed.
func seenNot(t *tables, c cell) bool {
	return (c.blank() || c.glyph == ' ') && (c.style == 0 || t.styles[c.style].plain())
}

// HistoryLines returns the number of lines in the history.
func (s *Screen) HistoryLines() int { return s.history.count }

// History appends the last n lines that have scrolled off, with their styles. Each ends with CR
// LF, except a last one that continues on the screen. Wrapped lines are joined, so that the
// receiving terminal wraps them at its own width.
func (s *Screen) History(dst []byte, n int) []byte {
	pieces, before := s.history.last(n)
	room := 0 // for all at once, because a user waits
	for _, p := range pieces {
		room += len(p.data)
	}
	dst = slices.Grow(dst, room)
	for _, p := range pieces {
		rest := p.data
		rest, before = skipLines(rest, before)
		for len(rest) > 0 {
			var text []byte
			var wrapped bool
			text, wrapped, rest = nextRow(rest)
			dst = append(dst, text...)
			if !wrapped {
				dst = append(dst, "\r\n"...)
			}
		}
	}
	return dst
}
