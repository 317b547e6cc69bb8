package screen

import (
	"bytes"
	"slices"
	"strings"
)

// residue holds modes that a program has switched on and that the model does not otherwise
// track. They change nothing in a snapshot, but stay on.
type residue struct {
	set      uint64   // by residueKind
	sets     uint8    // bit n: Gn is not ASCII
	modes    []uint16 // private modes missing from modeTable that are not at rest
	ansi     uint32   // likewise, bit n for ANSI mode n
	keys     uint8    // bit n: resource n of XTMODKEYS
	keyForms uint8    // bit n: resource n of XTFMTKEYS
	colors   []string // of kitty's OSC 21
}

// Bounds on the state that is kept.
const (
	maxResidueModes = 64
	maxKittyColors  = 64
	maxColorName    = 32 // bytes
)

type residueKind uint8

// The kinds, in the order in which they are undone. The first ones are modes in which a
// terminal obeys, or shows, nothing else.
const (
	vt52 residueKind = iota
	tektronix
	printer
	statusLine
	conformance
	statusLineType
	autoPrint
	memoryLock
	locator
	lights
	eightBit
	notUTF8
	rightSet
	protected
	rectangles
	checksums
	titleModes
	pointerMode
	shiftEscape
	consoleCursor
	extraCursors
	minimized
	maximized
	fullScreen
	userKeys
	pointerShape
	font
	specialColors
	consoleColors
	directory
	tabColor
	badge
	highlight
	background
	residueKinds
)

// undoings are the sequences that undo each kind.
var undoings = [residueKinds]string{
	vt52:           "\x1b<",
	tektronix:      "\x1b\x03\x1b\\", // other terminals wait for the rest of a sequence
	printer:        "\x1b[4i",
	statusLine:     "\x1b[0$}",
	conformance:    "\x1b[64;1\"p",
	statusLineType: "\x1b[0$~",
	autoPrint:      "\x1b[?4i",
	memoryLock:     "\x1bm",
	locator:        "\x1b[0'z",
	lights:         "\x1b[0q",
	eightBit:       "\x1b F",
	notUTF8:        "\x1b%G",
	rightSet:       "\x1b}",
	protected:      "\x1b[0\"q",
	rectangles:     "\x1b[0*x",
	checksums:      "\x1b[0#y",
	titleModes:     "\x1b[>0;1;2;3T",
	pointerMode:    "\x1b[>1p",
	shiftEscape:    "\x1b[>0s",
	consoleCursor:  "\x1b[?0c",
	extraCursors:   "\x1b[>0;4 q",
	minimized:      "\x1b[1t",
	maximized:      "\x1b[9;0t",
	fullScreen:     "\x1b[10;0t",
	userKeys:       "\x1bP" + clearUserKeys + "\x1b\\",
	pointerShape:   "\x1b]22;\x1b\\",
	font:           "\x1b]50;#0\x1b\\",
	specialColors:  "\x1b]105\x1b\\",
	consoleColors:  "\x1b]R\x1b\\",
	directory:      "\x1b]7;\x1b\\",
	tabColor:       "\x1b]6;1;bg;*;default\x1b\\",
	badge:          "\x1b]1337;SetBadgeFormat=\x1b\\",
	highlight:      "\x1b]1337;HighlightCursorLine=no\x1b\\",
	background:     "\x1b]1337;SetBackgroundImageFile=\x1b\\",
}

func (r *residue) put(k residueKind, on bool) {
	if on {
		r.set |= 1 << k
	} else {
		r.set &^= 1 << k
	}
}

func (r *residue) has(k residueKind) bool { return r.set>>k&1 != 0 }

// residueRows are the control sequences that switch a kind by their first parameter: on if it
// is in the mask on, off if it is in the mask off or in no mask.
var residueRows = []struct {
	private, inter, final byte
	kind                  residueKind
	on, off               uint64
}{
	{0, 0, 'i', printer, 1 << 5, 1 << 4},
	{'?', 0, 'i', autoPrint, 1 << 5, 1 << 4},
	{0, '$', '}', statusLine, 1 << 1, 1<<0 | 1<<2},
	{0, '$', '~', statusLineType, 1<<1 | 1<<2, 1 << 0},
	{0, '"', 'p', conformance, 1<<61 | 1<<62 | 1<<63, 0},
	{0, '"', 'q', protected, 1 << 1, 1<<0 | 1<<2},
	{0, '*', 'x', rectangles, 1 << 2, 1<<0 | 1<<1},
	{0, '#', 'y', checksums, 1<<63 - 2, 1 << 0},
	{'>', 0, 't', titleModes, 1<<63 - 1, 0},
	{'>', 0, 'T', titleModes, 0, 1<<63 - 1},
	{'>', 0, 'p', pointerMode, 1<<0 | 1<<2 | 1<<3, 1 << 1},
	{'>', 0, 's', shiftEscape, 1<<1 | 1<<2, 1 << 0},
	{'?', 0, 'c', consoleCursor, 1<<63 - 2, 1 << 0},
	{0, '\'', 'z', locator, 1<<1 | 1<<2, 1 << 0},
	{0, 0, 'q', lights, 1<<63 - 2, 1 << 0},
}

// residueCSI notes the lasting effect of a control sequence.
func (s *Screen) residueCSI(final byte) {
	q, r := &s.parser, &s.residue
	first, second := q.params.get(0, 0), q.params.get(1, 0)
	switch string([]byte{q.private, q.inter, final}) {
	case "\x00\x00t":
		r.window(first, second)
		return
	case ">\x00m":
		changeBit(&r.keys, first, q.params.n > 1 && first != 4)
		return
	case ">\x00n":
		changeBit(&r.keys, first, true)
		return
	case ">\x00f":
		changeBit(&r.keyForms, first, q.params.n > 1)
		return
	case "> q":
		r.put(extraCursors, first != 0)
		return
	}
	for _, row := range residueRows {
		if row.private != q.private || row.inter != q.inter || row.final != final {
			continue
		}
		switch {
		case first < 64 && row.on>>first&1 != 0:
			r.put(row.kind, true)
		case first >= 64 || row.off>>first&1 != 0:
			r.put(row.kind, false)
		}
	}
}

func changeBit(bits *uint8, n int, on bool) {
	switch {
	case n > 7:
	case on:
		*bits |= 1 << n
	default:
		*bits &^= 1 << n
	}
}

// window notes the effect of XTWINOPS on the window itself.
func (r *residue) window(what, how int) {
	switch what {
	case 1:
		r.put(minimized, false)
	case 2:
		r.put(minimized, true)
	case 9:
		r.put(maximized, how != 0)
	case 10:
		r.put(fullScreen, how != 0)
	}
}

// usuallyOn are the private modes missing from modeTable that are on in a terminal at rest:
// rxvt's scroll bar and font keys, VT100's numeric keypad, switching to the alternate screen,
// colours for each sixel image, and mintty's scroll bar and wheel.
var usuallyOn = []uint16{2, 30, 35, 1035, 1046, 1070, 7766, 7786}

// private notes a private mode that modeTable does not have. VT52 mode and Tektronix mode are
// left by their own sequences.
func (r *residue) private(number uint16, on bool) {
	switch number {
	case 2:
		r.put(vt52, !on)
		r.put(conformance, !on || r.has(conformance)) // xterm comes back as a VT100
	case 38:
		r.put(tektronix, on)
	default:
		at := slices.Index(r.modes, number)
		switch changed := on != slices.Contains(usuallyOn, number); {
		case changed && at < 0 && len(r.modes) < maxResidueModes:
			r.modes = append(r.modes, number)
		case !changed && at >= 0:
			r.modes = slices.Delete(r.modes, at, at+1)
		}
	}
}

// usualANSI are the ANSI modes that are on in a terminal at rest: VTE's implicit bidirectional
// text, and no local echo (SRM).
const usualANSI = 1<<8 | 1<<12

func (r *residue) setANSI(number uint16, on bool) {
	if number < 32 && on != (usualANSI>>number&1 != 0) {
		r.ansi |= 1 << number
	} else if number < 32 {
		r.ansi &^= 1 << number
	}
}

// residueEscape notes the lasting effect of an escape sequence. first is its first intermediate
// character.
func (s *Screen) residueEscape(first, inter, final byte) {
	r := &s.residue
	if set := strings.IndexByte("()*+", first); set < 0 {
		set = strings.IndexByte("-./", first) + 1
		if set > 0 {
			r.sets |= 1 << set
		}
	} else if first == inter && final == 'B' && first != 0 {
		r.sets &^= 1 << set
	} else if first != 0 {
		r.sets |= 1 << set
	}
	switch string([]byte{first, final}) {
	case " F", " G":
		r.put(eightBit, final == 'G')
	case "%G", "%8", "%@":
		r.put(notUTF8, final == '@')
	case "\x00~", "\x00}", "\x00|":
		r.put(rightSet, final != '}')
	case "\x00l", "\x00m":
		r.put(memoryLock, final == 'l')
	case "\x00<":
		r.put(vt52, false)
	}
}

// residueOSC notes the lasting effect of an operating system command.
func (s *Screen) residueOSC(n int, rest []byte) {
	r := &s.residue
	switch n {
	case 5:
		r.put(specialColors, !bytes.HasSuffix(rest, []byte("?")))
	case 105:
		r.put(specialColors, len(rest) > 0 && r.has(specialColors))
	case 6:
		if after, ok := bytes.CutPrefix(rest, []byte("1;bg;")); ok {
			r.put(tabColor, !bytes.HasSuffix(after, []byte(";default")))
		}
	case 7:
		r.put(directory, len(rest) > 0)
	case 21:
		r.kittyColors(rest)
	case 22:
		r.put(pointerShape, len(rest) > 0 && rest[0] != '?')
	case 50, 1337:
		s.residueITerm(n, rest)
	}
}

func (s *Screen) residueITerm(n int, rest []byte) {
	r := &s.residue
	name, value, _ := bytes.Cut(rest, []byte("="))
	switch string(name) {
	case "CursorShape":
		s.modes.shape = 1 // any shape: the same sequence undoes it
	case "SetBadgeFormat":
		r.put(badge, len(value) > 0)
	case "HighlightCursorLine":
		r.put(highlight, string(value) != "no")
	case "SetBackgroundImageFile":
		r.put(background, len(value) > 0)
	default:
		if n == 50 {
			r.put(font, string(rest) != "#0" && string(rest) != "?")
		}
	}
}

// kittyColors notes the colours that OSC 21 names. A colour with a value is set; one with an
// empty value or alone is reset.
func (r *residue) kittyColors(rest []byte) {
	for pair := range bytes.SplitSeq(rest, []byte(";")) {
		name, value, set := bytes.Cut(pair, []byte("="))
		at := slices.Index(r.colors, string(name))
		switch {
		case len(name) == 0 || len(name) > maxColorName || string(value) == "?":
		case set && at < 0 && len(r.colors) < maxKittyColors:
			r.colors = append(r.colors, string(name))
		case !set && at >= 0:
			r.colors = slices.Delete(r.colors, at, at+1)
		}
	}
}

// clearUserKeys is a DECUDK that defines nothing and clears all definitions.
const clearUserKeys = "00;1|"

// residueDCS notes a device control string by its beginning. It reports whether that is still
// too short to decide.
func (s *Screen) residueDCS(p []byte) (more bool) {
	at := bytes.IndexFunc(p, func(c rune) bool { return c != ';' && (c < '0' || c > '9') })
	if at < 0 {
		return len(p) < 16
	}
	if p[at] == '|' {
		s.residue.put(userKeys, string(p[:at+1]) != clearUserKeys)
	}
	return false
}

// first appends the bytes that must come before a terminal obeys anything else.
func (r *residue) first(dst []byte) []byte {
	return r.undo(dst, 0, autoPrint)
}

// rest appends the bytes that undo everything else.
func (r *residue) rest(dst []byte) []byte {
	for _, number := range r.modes {
		dst = appendNumber(append(dst, "\x1b[?"...), int(number), onOff(slices.Contains(usuallyOn, number)))
	}
	for n := range 32 {
		if r.ansi>>n&1 != 0 {
			dst = appendNumber(append(dst, "\x1b["...), n, onOff(usualANSI>>n&1 != 0))
		}
	}
	for n := range 8 {
		if r.keys>>n&1 != 0 {
			dst = appendNumber(append(dst, "\x1b[>"...), n, "m")
		}
		if r.keyForms>>n&1 != 0 {
			dst = appendNumber(append(dst, "\x1b[>"...), n, "f")
		}
	}
	for n := range 4 {
		if r.sets>>n&1 != 0 {
			dst = append(dst, 0x1b, "()*+"[n], 'B')
		}
	}
	dst = r.undo(dst, autoPrint, residueKinds)
	if len(r.colors) > 0 {
		dst = append(append(dst, "\x1b]21;"...), strings.Join(r.colors, ";")...)
		dst = append(dst, "\x1b\\"...)
	}
	return dst
}

func (r *residue) undo(dst []byte, from, to residueKind) []byte {
	for k := from; k < to; k++ {
		if r.has(k) {
			dst = append(dst, undoings[k]...)
		}
	}
	return dst
}
