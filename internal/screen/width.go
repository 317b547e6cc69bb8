package screen

// runeWidth returns the number of columns of a code point: 0 if it is a part of the character
// before, -1 for control characters.
func runeWidth(r rune) int {
	switch {
	case r >= 0x20 && r < 0x7f:
		return 1
	case r < 0xa0:
		return -1
	case r < firstWide:
		return 1
	}
	return lookupWidth(r)
}

//go:generate go run widthgen.go

// span is a range of code points, bounds included.
type span struct{ first, last rune }

// lookupWidth is runeWidth for code points from firstWide on.
func lookupWidth(r rune) int {
	switch {
	case r >= 0x2500 && r < 0x25fd: // frames and bars: the most frequent, so they need no search
		return 1
	case r >= 0x4e00 && r <= 0x9fff: // Chinese
		return 2
	case within(wideSpans[:], r):
		return 2
	case within(zeroSpans[:], r):
		return 0
	}
	return 1
}

// within reports whether a code point is in one of spans, which are sorted.
func within(spans []span, r rune) bool {
	lo, hi := 0, len(spans)
	for lo < hi {
		switch mid := (lo + hi) / 2; {
		case r < spans[mid].first:
			hi = mid
		case r > spans[mid].last:
			lo = mid + 1
		default:
			return true
		}
	}
	return false
}

// pictograph reports whether a code point may follow a joiner in an emoji.
func pictograph(r rune) bool { return within(pictographSpans[:], r) }

// isEmoji reports whether a code point is an emoji if emojiVariant follows it.
func isEmoji(r rune) bool {
	return r >= '0' && r <= '9' || r == '#' || r == '*' || r == '©' || r == '®' || pictograph(r)
}
