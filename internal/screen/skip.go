package screen

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// Much of the output in a burst is never seen: it scrolls through the screen and out of the
// history at once. If it has no other effect, it need not be drawn.

// Plain measures the start of p that only prints text and scrolls: characters, CR, LF, TAB, BS,
// BEL, and complete sequences that change the pen or erase in a line. It counts the line feeds.
// reset is the start of the last sequence that resets the pen, so that its state before does
// not matter; -1 if there is none.
func Plain(p []byte) (n, lines, reset int) {
	reset = -1
	for n < len(p) {
		n += visible(p[n:])
		if n == len(p) {
			break
		}
		switch p[n] {
		case '\n':
			lines++
			fallthrough
		case '\r', '\t', '\b', 0x07:
			n++
		default:
			size := lineSequence(p[n:])
			if size == 0 {
				return n, lines, reset
			}
			if resets(p[n : n+size]) {
				reset = n
			}
			n += size
		}
	}
	return n, lines, reset
}

// visible counts the leading bytes that are not control characters, eight at a time while there
// are only such bytes.
func visible(p []byte) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(p)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(p[n:])
		// The lowest remaining bit belongs to the first byte below a space.
		if control := (x - 0x20*each) &^ x & high; control != 0 {
			return n + bits.TrailingZeros64(control)/8
		}
	}
	for n < len(p) && p[n] >= 0x20 {
		n++
	}
	return n
}

// lineSequence returns the length of a complete SGR or EL at the start of p; 0 if there is
// none.
func lineSequence(p []byte) int {
	if len(p) < 3 || p[0] != 0x1b || p[1] != '[' {
		return 0
	}
	for i, c := range p[2:] {
		switch {
		case c >= '0' && c <= ';':
		case c == 'm', c == 'K':
			return i + 3
		default:
			return 0
		}
	}
	return 0
}

// resets reports whether a sequence resets the pen.
func resets(p []byte) bool {
	return p[len(p)-1] == 'm' && (len(p) == 3 || len(p) == 4 && p[2] == '0')
}

// Skippable reports whether plain output that ends with CR LF has no lasting effect except on
// the pen, if at least lines more lines of plain output follow: they push it out of the screen
// and the history.
func (s *Screen) Skippable() (lines int, ok bool) {
	const inPieces = 2 * pieceSize / rowOverhead // the history forgets whole pieces
	ok = s.parser.state == ground && s.parser.runeLen == 0 && s.g == &s.main && s.margin == s.g.whole() &&
		!s.charset.translates() && !s.modes.on(reverseWrap) && s.options.Scrolled == nil
	return max(0, s.options.Lines) + inPieces + s.rows, ok
}

// Skip applies the effect on the pen of p, which is plain and may be skipped. It leaves the
// cursor in the first column.
func (s *Screen) Skip(p []byte) {
	for {
		i := bytes.IndexByte(p, 0x1b)
		if i < 0 {
			break
		}
		p = p[i:]
		size := max(1, lineSequence(p))
		if p[size-1] == 'm' {
			_, _ = s.Write(p[:size])
		}
		p = p[size:]
	}
	s.last = 0
	s.carriageReturn()
}
