//go:build linux

package session

import "bytes"

// clipboardGuard takes out of a terminal's output what sets or asks for the
// clipboard of whoever looks at it: OSC 52 (xterm), 5522 (kitty) and 1337;Copy
// (iTerm2), also where tmux or screen are to pass them on. A job prints what others
// have written, and what is in a clipboard ends up in shells. The zero value is
// ready; it keeps at most maxHead bytes from one call of filter to the next.
type clipboardGuard struct {
	state guardState
	last  byte   // the byte before, to tell a C1 control from a part of a character
	head  []byte // of what may become such a command; its introducer is the first
	out   []byte
}

type guardState byte

const (
	clean       guardState = iota
	introducing            // ESC, or the first byte of U+009D
	heading                // an OSC, of which the number is not known yet
	dropping               // one for the clipboard
	ending                 // the same after ESC or the first byte of U+009C
)

const (
	bel, can, sub = 0x07, 0x18, 0x1a
	osc, st       = 0x9d, 0x9c // as C1 controls: alone, or behind c1 in UTF-8
	c1            = 0xc2
	// maxHead bounds an OSC's introducer and number in bytes; no terminal knows one
	// of more than four digits.
	maxHead = 32
)

// filter returns what of p may be shown. It is valid until the next call.
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

// harmless says, fast, that p neither has nor begins an OSC.
func (g *clipboardGuard) harmless(p []byte) bool {
	if g.state != clean || len(p) == 0 || bytes.Contains(p, []byte("\x1b]")) || bytes.IndexByte(p, osc) >= 0 {
		return false
	}
	g.last = p[len(p)-1]
	return g.last != esc && g.last != c1
}

func (g *clipboardGuard) next(c byte) {
	switch g.state {
	case clean:
		g.pass(c)
	case introducing:
		if g.last == esc && c == ']' || g.last == c1 && c == osc {
			g.head, g.state = append(g.head, c), heading
			return
		}
		g.release()
		g.pass(c)
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
		case g.last == esc: // what begins anew ends what it was in
			g.state, g.head = introducing, append(g.head[:0], esc)
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
		g.head, g.state = append(g.head[:0], c), introducing
	case c == osc && g.last < 0x80: // no part of a character: a C1 control of 8 bits
		g.head, g.state = append(g.head[:0], c), heading
	default:
		g.out = append(g.out, c)
	}
}

// number reads on in an OSC's number, and in what comes after that of iTerm2.
func (g *clipboardGuard) number(c byte) {
	if c < ' ' || c >= 0x7f {
		g.release()
		g.pass(c)
		return
	}
	g.head = append(g.head, c)
	rest := g.head[1:]
	if g.head[0] != osc {
		rest = g.head[2:]
	}
	digits := bytes.TrimLeft(rest, "0123456789")
	number := string(bytes.TrimLeft(rest[:len(rest)-len(digits)], "0"))
	copies := []byte(";Copy")
	switch {
	case len(g.head) == maxHead, len(digits) > 0 && (number == "52" || number == "5522"),
		number == "1337" && bytes.Equal(digits, copies):
		g.state = dropping
		// In its place comes what ends any sequence: of what is left and right of it
		// none may come together.
		g.out = append(g.out, can)
	case len(digits) > 0 && (number != "1337" || !bytes.HasPrefix(copies, digits)):
		g.release()
	}
}

// release shows what was held back.
func (g *clipboardGuard) release() {
	g.out = append(g.out, g.head...)
	g.state = clean
}
