package screen

// MaxSequence bounds the bytes of a control sequence.
const MaxSequence = 64

// Sequence measures the control sequence at the start of p. It is complete at its last
// character. It is also complete at the first character that cannot be in a sequence; n is then
// 0.
func Sequence(p []byte) (n int, complete bool) {
	for n = 2; n < len(p); n++ {
		switch c := p[n]; {
		case c >= 0x40 && c <= 0x7e:
			return n + 1, true
		case c < 0x20 || c > 0x7e:
			return 0, true
		}
	}
	return n, false
}

// FormOf returns the form of answer that a control sequence has. (A position in the first row
// looks like F3 with Shift, Alt or Ctrl.)
func FormOf(params []byte, final byte) (form Answer, ok bool) {
	if len(params) == 0 {
		return 0, false
	}
	switch private := params[0]; final {
	case 'c':
		return AnswerAttributes, private == '?' || private == '>'
	case 'n':
		return AnswerStatus, true
	case 'R':
		return AnswerPosition, true
	case 'y':
		return AnswerMode, params[len(params)-1] == '$'
	case 't':
		return AnswerWindow, true
	case 'u':
		return AnswerKeyboard, private == '?'
	case 'x':
		return AnswerParameters, true
	case 'm':
		return AnswerKeys, private == '>'
	case 'S':
		return AnswerGraphics, private == '?'
	}
	return 0, false
}
