//go:build linux

package view

import "bytes"

// clipboardGuard removes sequences from a terminal's output that set or query the clipboard of
// the user: OSC 52 (xterm), 5522 (kitty), 1337;Copy and 50;Copy (iTerm2), also where tmux or
// screen are to pass them on. A job may print text of other people, and users paste their
// clipboard into shells. The zero value is ready. It keeps at most maxHead bytes from one call
// of filter to the next.
type clipboardGuard struct {
	state guardState
	last  byte   // the byte before, to tell a C1 control from a part of a character
	head  []byte // the introducer of a possible command, or its first byte
	said  []byte // the bytes of an OSC after the introducer
	out   []byte
}

type guardState byte

const (
	clean       guardState = iota
	introducing            // ESC, or the first byte of U+009D
	heading                // an OSC whose number is not known yet
	dropping               // an OSC for the clipboard
	ending                 // dropping, after ESC or the first byte of U+009C
)

const (
	bel, can, sub, esc, del = 0x07, 0x18, 0x1a, 0x1b, 0x7f
	osc, st                 = 0x9d, 0x9c // as C1 controls: alone, or after c1 in UTF-8
	c1                      = 0xc2
	// maxNumber bounds an OSC's number in bytes, maxDigits the digits without leading zeros. No
	// terminal knows a number of more than four digits, and some compute numbers modulo 2^32.
	maxNumber, maxDigits = 32, 5
	maxHead              = 2 + maxNumber
)

// filter returns the bytes of p that may be shown. They are valid until the next call.
func (g *clipboardGuard) filter(p []byte) []byte {
	if g.harmless(p) {
		return p
	}
	g.out = g.out[:0]
	for _, c := range p {
		g.next(c)
		g.last = c
	}
	return g.out
}

// harmless reports, fast, that p has no ESC that could introduce an OSC, and does not end
// within a sequence.
func (g *clipboardGuard) harmless(p []byte) bool {
	if g.state != clean || len(p) == 0 || bytes.IndexByte(p, osc) >= 0 {
		return false
	}
	last := p[len(p)-1]
	if last == esc || last == c1 {
		return false
	}
	for rest := p; ; {
		i := bytes.IndexByte(rest, esc)
		if i < 0 {
			break
		}
		rest = rest[i+1:]
		if rest[0] == ']' || executed(rest[0]) {
			return false
		}
	}
	g.last = last
	return true
}

// executed reports whether a terminal executes or ignores c in the middle of a sequence, which then
// continues.
func executed(c byte) bool { return c < ' ' && c != esc && c != can && c != sub || c == del }

func (g *clipboardGuard) next(c byte) {
	switch g.state {
	case clean:
		g.pass(c)
	case introducing:
		switch first := g.head[0]; {
		case first == esc && c == ']', first == c1 && c == osc:
			g.head, g.state = append(g.head, c), heading
		case first == esc && executed(c):
			g.out = append(g.out, c) // it takes effect now, and the sequence continues
		default:
			g.release()
			g.pass(c)
		}
	case heading:
		g.number(c)
	case dropping:
		switch {
		case c == bel || c == can || c == sub || c == st && g.last < 0x80:
			g.state = clean
		case c == esc || c == c1:
			g.state = ending
		}
	case ending:
		switch {
		case g.last == esc && c == '\\' || g.last == c1 && c == st:
			g.state = clean
		case g.last == esc: // a new sequence ends the one before
			g.hold(esc, introducing)
			g.next(c)
		default:
			g.state = dropping
			g.next(c)
		}
	}
}

func (g *clipboardGuard) pass(c byte) {
	switch {
	case c == esc || c == c1:
		g.hold(c, introducing)
	case c == osc && g.last < 0x80: // not a part of a character: an 8-bit C1 control
		g.hold(c, heading)
	default:
		g.out = append(g.out, c)
	}
}

// hold keeps c back, because a command may begin with it.
func (g *clipboardGuard) hold(c byte, state guardState) {
	g.head, g.said, g.state = append(g.head[:0], c), g.said[:0], state
}

// number reads the number of an OSC, and for iTerm2 the name after it.
func (g *clipboardGuard) number(c byte) {
	plain := c >= ' ' && c < del
	switch {
	case executed(c) && c != bel:
		return // terminals ignore it there
	case c < ' ':
		g.release()
		g.pass(c)
		return
	case plain:
		g.said = append(g.said, c)
	}
	text := bytes.TrimLeft(g.said, "0123456789")
	number := string(bytes.TrimLeft(g.said[:len(g.said)-len(text)], "0"))
	over := len(text) > 0 || !plain
	copies, iterm := []byte(";Copy"), number == "1337" || number == "50"
	switch {
	case len(number) > maxDigits, len(g.said) == maxNumber,
		over && (number == "52" || number == "5522"),
		iterm && bytes.Equal(text, copies):
		g.state = dropping
		// CAN replaces it, which ends any sequence, so that the bytes before and after it do
		// not form a sequence together.
		g.out = append(g.out, can)
		g.next(c)
	case over && !(iterm && plain && bytes.HasPrefix(copies, text)):
		g.release()
		if !plain {
			g.pass(c)
		}
	}
}

// release emits the bytes that were held back.
func (g *clipboardGuard) release() {
	g.out = append(append(g.out, g.head...), g.said...)
	g.state = clean
}
