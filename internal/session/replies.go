//go:build linux

package session

import "bytes"

// replies tells what a terminal answered by itself from what a person did: a
// program's question reaches all terminals that show it, and all of them answer.
// Only one answer is for the program, and none makes a terminal the latest that
// was typed on.
type replies struct {
	held   []byte // a control sequence that is not complete
	within bool   // a string that only terminals send
	esc    bool   // in it, the last byte was ESC
}

// maxHeld bounds a control sequence: answers are shorter.
const maxHeld = 64

const esc = 0x1b

// typed returns p without the terminal's own answers.
func (r *replies) typed(p []byte) []byte {
	if len(r.held) == 0 && !r.within && bytes.IndexByte(p, esc) < 0 {
		return p
	}
	p = append(r.held, p...)
	r.held = nil
	typed := make([]byte, 0, len(p))
	for len(p) > 0 {
		switch {
		case r.within:
			p = p[r.skip(p):]
		case p[0] != esc || len(p) == 1: // a lone ESC is a key
			typed = append(typed, p[0])
			p = p[1:]
		case p[1] == '[':
			n, answer, complete := sequence(p)
			if !complete && n < maxHeld {
				r.held = append([]byte(nil), p...)
				return typed
			}
			if !answer {
				typed = append(typed, p[:n]...)
			}
			p = p[n:]
		case len(p) > 2 && (p[1] == 'P' || p[1] == ']' || p[1] == '_'): // DCS, OSC, APC; alone, keys with Alt
			r.within = true
			p = p[2:]
		default:
			typed = append(typed, p[:2]...)
			p = p[2:]
		}
	}
	return typed
}

// skip is how much of p belongs to the string that has begun.
func (r *replies) skip(p []byte) int {
	for i, c := range p {
		if c == 0x07 || r.esc && c == '\\' {
			r.within, r.esc = false, false
			return i + 1
		}
		r.esc = c == esc
	}
	return len(p)
}

// sequence measures the control sequence at the start of p, and says whether it is
// a terminal's answer.
func sequence(p []byte) (n int, answer, complete bool) {
	for n = 2; n < len(p); n++ {
		switch c := p[n]; {
		case c >= 0x40 && c <= 0x7e:
			return n + 1, isAnswer(p[2:n], c), true
		case c < 0x20 || c > 0x7e:
			return n, false, true // none: what follows is typed
		}
	}
	return n, false, false
}

// isAnswer says whether a control sequence is an answer: to the device attributes
// (c), status (n), modes (y), the window (t) or keyboard (?u); or of the position
// (R), which looks as F3 with Shift, Alt or Ctrl does in the first row; or the
// terminal's news of being looked at (I, O).
func isAnswer(params []byte, final byte) bool {
	private := len(params) > 0 && params[0] >= '<' && params[0] <= '?'
	switch final {
	case 'c', 'n', 'y', 't':
		return true
	case 'u':
		return private
	case 'R':
		return private || len(params) > 0 && !bytes.HasPrefix(params, []byte("1;"))
	case 'I', 'O':
		return len(params) == 0
	}
	return false
}
