package typeahead

// The marks of a bracketed paste: CSI 200 ~ and CSI 201 ~. Terminals send them to programs that
// request them.
const (
	pasteBegins = 0x1b_5b_32_30_30_7e
	pasteEnds   = 0x1b_5b_32_30_31_7e
	markBits    = 48
)

// Marks finds the marks in a terminal's input, however it is cut and however slowly it comes. The
// zero value is ready.
type Marks struct {
	Last   uint64 // the last bytes
	Within bool   // a paste has begun and not ended
}

// Follow notes more input.
func (m *Marks) Follow(p []byte) {
	for _, c := range p {
		m.Last = (m.Last<<8 | uint64(c)) & (1<<markBits - 1)
		switch m.Last {
		case pasteBegins:
			m.Within = true
		case pasteEnds:
			m.Within = false
		}
	}
}

// Join returns p, which continues the input that other has followed, so that it continues the input
// of m: after a mark, if only one of the two is within a paste. If the program does not request
// marks, there is none. Both follow p.
func (m *Marks) Join(other *Marks, p []byte, requested bool) []byte {
	joined := p
	switch {
	case m.Within == other.Within:
	case !requested:
		*m = *other
	case m.Within:
		joined = append([]byte("\x1b[201~"), p...)
	default:
		joined = append([]byte("\x1b[200~"), p...)
	}
	other.Follow(p)
	m.Follow(joined)
	return joined
}

// Ended reports whether the input ends with the mark at the end of a paste.
func (m *Marks) Ended() bool { return m.Last == pasteEnds }

// Cut reports whether the last bytes may be the start of a mark.
func (m *Marks) Cut() bool {
	for n := 8; n < markBits; n += 8 {
		if m.Last&(1<<n-1) == pasteBegins>>(markBits-n) {
			return true
		}
	}
	return false
}
