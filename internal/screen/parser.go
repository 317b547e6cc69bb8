package screen

import (
	"encoding/binary"
	"unicode/utf8"
)

// Bounds of the parser. It ignores a string as a whole that exceeds its bound.
const (
	maxParams = 32
	maxString = 4096 // of OSC and DCS
)

type parserState uint8

const (
	ground parserState = iota
	escape
	escapeInter // after an intermediate character of an escape sequence
	csiParam
	csiIgnore
	oscString
	dcsString
	skipString // SOS, PM and APC, and DCS without a meaning here
	skipOSC    // an OSC that is too long
)

// parser is the state between two bytes.
type parser struct {
	state   parserState
	params  params
	private byte   // '?', '>', '=' or '<' before the parameters; 0: none
	lead    byte   // the first intermediate character of an escape sequence
	inter   byte   // the last intermediate character
	string  []byte // the content of an OSC or DCS so far
	rune    [utf8.UTFMax]byte
	runeLen int // bytes of an incomplete character
}

// params are the parameters of a control sequence. An omitted one is 0.
type params struct {
	v   [maxParams]uint16
	sub uint32 // bit i: a colon precedes parameter i
	n   int    // the number of parameters; 0 if there was no digit
}

// get returns parameter i, or def if it is 0 or missing.
func (p *params) get(i int, def int) int {
	if i >= p.n || p.v[i] == 0 {
		return def
	}
	return int(p.v[i])
}

// subs returns the number of parameters that parameter i and its parts are.
func (p *params) subs(i int) int {
	n := 1
	for i+n < p.n && p.sub>>(i+n)&1 != 0 {
		n++
	}
	return n
}

// step handles a character of the parameters. It reports false if there are too many.
func (p *params) step(c byte) bool {
	if p.n == 0 {
		p.n, p.v[0], p.sub = 1, 0, 0
	}
	if c == ';' || c == ':' {
		if p.n == maxParams {
			return false
		}
		p.v[p.n] = 0
		if c == ':' {
			p.sub |= 1 << p.n
		}
		p.n++
		return true
	}
	v := &p.v[p.n-1]
	*v = uint16(min(uint32(*v)*10+uint32(c-'0'), 1<<16-1))
	return true
}

// Write interprets output of a program. It accepts any input and never fails.
func (s *Screen) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		switch s.parser.state {
		case ground:
			p = p[s.writeGround(p):]
		case oscString, dcsString, skipString, skipOSC:
			p = p[s.writeString(p):]
		default:
			s.step(p[0])
			p = p[1:]
		}
	}
	return n, nil
}

// writeGround handles text up to a control character, or one control character.
func (s *Screen) writeGround(p []byte) int {
	if s.parser.runeLen > 0 {
		return s.finishRune(p)
	}
	n := printable(p)
	switch {
	case n > 0:
		s.printASCII(p[:n])
		return n
	case p[0] == 0x1b && len(p) > 2 && p[1] == '[':
		return s.simpleCSI(p)
	case p[0] < 0x20:
		s.control(p[0])
		return 1
	case p[0] == 0x7f:
		return 1
	case !utf8.FullRune(p):
		s.parser.runeLen = copy(s.parser.rune[:], p)
		return len(p)
	}
	r, size := utf8.DecodeRune(p)
	s.print(r)
	return size
}

// printable counts the leading characters from space to tilde, eight at a time while there are
// only such characters.
func printable(p []byte) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(p)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(p[n:])
		// A byte has its highest bit set in one of these if it is below a space, a delete, or
		// not ASCII. Other bytes have it only after such a byte.
		if (x-0x20*each|x+each|x)&high != 0 {
			break
		}
	}
	for n < len(p) && p[n]-0x20 < 0x5f {
		n++
	}
	return n
}

// simpleCSI handles a complete control sequence with nothing but numbers before its last
// character, the most frequent form. It begins any other.
func (s *Screen) simpleCSI(p []byte) int {
	q := &s.parser
	q.private, q.inter, q.params.n = 0, 0, 0
	for i, c := range p[2:] {
		switch {
		case c >= '0' && c <= ';':
			if !q.params.step(c) {
				q.state = csiIgnore
				return i + 3
			}
			continue
		case c >= 0x40 && c < 0x7f:
			s.csi(c)
			return i + 3
		}
		q.state = csiParam
		return i + 2
	}
	q.state = csiParam
	return len(p)
}

// finishRune continues a character that began in an earlier write.
func (s *Screen) finishRune(p []byte) int {
	q := &s.parser
	had := q.runeLen
	n := copy(q.rune[had:], p)
	text := q.rune[:had+n]
	if !utf8.FullRune(text) {
		q.runeLen += n
		return n
	}
	r, size := utf8.DecodeRune(text)
	s.print(r)
	if size >= had {
		q.runeLen = 0
		return size - had
	}
	// Not a character; the rest of it may be the start of another.
	q.runeLen = copy(q.rune[:], text[size:had])
	return 0
}

// control executes a control character.
func (s *Screen) control(c byte) {
	if c != 0x1b {
		s.last = 0
	}
	switch c {
	case '\b':
		s.backspace()
	case '\t':
		s.tab(1)
	case '\n', '\v', '\f':
		s.lineFeed()
	case '\r':
		s.carriageReturn()
	case 0x0e:
		s.charset.active = 1
	case 0x0f:
		s.charset.active = 0
	case 0x1b:
		s.parser.state = escape
		s.parser.lead, s.parser.inter = 0, 0
	}
}

func (s *Screen) lineFeed() {
	s.pending = false
	s.index()
	if s.modes.on(newLine) {
		s.carriageReturn()
	}
}

func (s *Screen) carriageReturn() {
	s.pending = false
	s.x = s.lineStart()
}

// step handles a byte of an escape or control sequence.
func (s *Screen) step(c byte) {
	q := &s.parser
	switch {
	case c == 0x18 || c == 0x1a: // CAN and SUB
		q.state = ground
		return
	case c < 0x20:
		if c == 0x03 && q.state == escape {
			s.residue.put(tektronix, false)
		}
		s.control(c)
		return
	case c >= 0x7f:
		if c >= 0x80 {
			q.state = ground // not a sequence; the byte is a part of text
			s.writeGround([]byte{c})
		}
		return
	}
	switch q.state {
	case escape, escapeInter:
		s.stepEscape(c)
	case csiParam:
		s.stepCSI(c)
	case csiIgnore:
		if c >= 0x40 {
			q.state = ground
		}
	}
}

func (s *Screen) stepEscape(c byte) {
	q := &s.parser
	if c < 0x30 {
		if q.state == escape {
			q.lead = c
		}
		q.state, q.inter = escapeInter, c
		return
	}
	if q.state == escape {
		switch c {
		case '[':
			q.state, q.private, q.params.n = csiParam, 0, 0
			return
		case ']':
			q.state, q.string = oscString, q.string[:0]
			return
		case 'P':
			q.state, q.string = dcsString, q.string[:0]
			return
		case 'X', '^', '_', 'k': // the last is an old title of screen
			if c == '_' { // kitty's graphics answer
				s.asked(AnswerProgram, 1)
			}
			q.state = skipString
			return
		}
	}
	q.state = ground
	s.escape(q.inter, c)
}

func (s *Screen) stepCSI(c byte) {
	q := &s.parser
	switch {
	case c >= 0x40:
		q.state = ground
		s.csi(c)
	case c < 0x30:
		q.inter = c
	case q.inter != 0:
		q.state = csiIgnore
	case c >= '<':
		if q.params.n > 0 || q.private != 0 {
			q.state = csiIgnore
		}
		q.private = c
	case !q.params.step(c):
		q.state = csiIgnore
	}
}

// writeString handles bytes of a string up to its end.
func (s *Screen) writeString(p []byte) int {
	q := &s.parser
	for i, c := range p {
		if c >= 0x20 {
			continue
		}
		s.keep(p[:i])
		switch {
		case c == 0x1b: // of ST, or of another sequence
			s.endString()
			q.state, q.lead, q.inter = escape, 0, 0
		case c == 0x18 || c == 0x1a:
			q.state = ground
		case c == 0x07 && (q.state == oscString || q.state == skipOSC):
			s.endString()
			q.state = ground
		}
		return i + 1
	}
	s.keep(p)
	return len(p)
}

// keep collects a string. One that is too long is skipped from then on.
func (s *Screen) keep(p []byte) {
	q := &s.parser
	switch {
	case q.state == skipString || q.state == skipOSC:
		return
	case len(q.string)+len(p) > maxString:
		if q.string = nil; q.state == oscString {
			q.state = skipOSC
		} else {
			q.state = skipString
		}
		return
	}
	q.string = append(q.string, p...)
	if q.state == dcsString && len(q.string) >= 2 && !ourDCS(q.string) && !s.residueDCS(q.string) {
		q.state = skipString
	}
}

func (s *Screen) endString() {
	switch s.parser.state {
	case oscString:
		s.osc(s.parser.string)
	case dcsString:
		s.dcs(s.parser.string)
	}
}
