//go:build linux

package lines

import (
	"bytes"

	"keyway/internal/screen"
)

const esc = 0x1b

// touches returns the first row that a sequence changes, noRow if none, and whether it clears
// the screen. home says that the cursor is in the first column and row.
func touches(p []byte, row uint64, home bool) (from uint64, clears bool) {
	last := p[len(p)-1]
	switch {
	case p[0] != esc || len(p) < 2:
		return row, false
	case p[1] != '[':
		switch p[1] {
		case 'c':
			return 0, true
		case 'M', '#':
			return 0, false
		}
		return noRow, false
	}
	switch last {
	case 'J':
		switch what := string(p[2 : len(p)-1]); {
		case what == "2" || home && (what == "" || what == "0"):
			return 0, true
		case what == "" || what == "0":
			return row, false
		}
		return 0, false
	case 'L', 'M', 'K', 'X', '@', 'P', 'b':
		return row, false
	case 'S', 'T':
		return 0, false
	}
	return noRow, false
}

// controlAt measures the sequence at the start of p; 0 means that it is incomplete. within says
// that a string has begun and not ended.
func controlAt(p []byte, within *bool) int {
	switch {
	case *within:
		return stringLen(p, within)
	case p[0] != esc:
		return 1
	case len(p) == 1:
		return 0
	}
	switch c := p[1]; {
	case c == '[':
		n, complete := screen.Sequence(p)
		switch {
		case complete:
			return max(2, n)
		case n < screen.MaxSequence:
			return 0
		}
		return n
	case bytes.IndexByte([]byte("]P_^Xk"), c) >= 0:
		*within = true
		return 2
	case c >= 0x20 && c < 0x30:
		if len(p) == 2 {
			return 0
		}
		return 3
	}
	return 2
}

// stringLen returns the number of bytes of p that belong to a string.
func stringLen(p []byte, within *bool) int {
	for i, c := range p {
		switch {
		case c == 0x07 || c == 0x18 || c == 0x1a:
			*within = false
			return i + 1
		case c == esc: // start of ST, or of another sequence
			*within = false
			if i > 0 {
				return i
			}
			return controlAt(p, within)
		}
	}
	return len(p)
}

// erases reports whether plain output erases part of its line. Lines that are kept as printed
// are shown on other terminals.
func erases(p []byte) bool {
	for {
		at := bytes.Index(p, []byte("\x1b["))
		if at < 0 {
			return false
		}
		n, _ := screen.Sequence(p[at:])
		if n > 0 && p[at+n-1] == 'K' {
			return true
		}
		p = p[at+2:]
	}
}
