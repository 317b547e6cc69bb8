package screen

import "strconv"

// mode is the index of a mode in modeTable.
type mode uint8

const (
	appCursor mode = iota
	reverseScreen
	originMode
	autoWrap
	autoRepeat
	cursorBlink
	cursorShown
	reverseWrap
	numericKeypad
	backspaceKey
	sideMargins
	altScroll
	focusEvents
	urgentBell
	popOnBell
	metaKey
	altEscape
	bracketedPaste
	syncOutput
	graphemes
	colorScheme
	resizeEvents
	inputRecords
	mouseX10
	mouseClicks
	mouseHilite
	mouseDrags
	mouseMoves
	mouseUTF8
	mouseSGR
	mouseURXVT
	mousePixels
	keypadMode // ESC = and ESC >, not a number
	insertMode // ANSI modes from here on
	newLine
	modeCount
)

// modeTable has the number of each mode, and whether it is on in a terminal at rest.
var modeTable = [modeCount]struct {
	number uint16
	rest   bool
}{
	appCursor: {1, false}, reverseScreen: {5, false}, originMode: {6, false}, autoWrap: {7, true},
	autoRepeat: {8, true}, cursorBlink: {12, false}, cursorShown: {25, true}, reverseWrap: {45, false},
	numericKeypad: {66, false}, backspaceKey: {67, false}, sideMargins: {69, false}, altScroll: {1007, false},
	focusEvents: {1004, false}, urgentBell: {1042, false}, popOnBell: {1043, false}, metaKey: {1034, true},
	altEscape: {1036, true}, bracketedPaste: {2004, false}, syncOutput: {2026, false}, graphemes: {2027, false},
	colorScheme: {2031, false}, resizeEvents: {2048, false}, inputRecords: {9001, false},
	mouseX10: {9, false}, mouseClicks: {1000, false}, mouseHilite: {1001, false}, mouseDrags: {1002, false},
	mouseMoves: {1003, false}, mouseUTF8: {1005, false}, mouseSGR: {1006, false}, mouseURXVT: {1015, false},
	mousePixels: {1016, false},
	insertMode:  {4, false}, newLine: {20, false},
}

// modes holds the modes that are on.
type modes struct {
	bits  uint64
	mouse mode // the one mouse mode in force; 0: none
	// alternate is the number of the mode that entered the alternate screen: 47, 1047 or 1049.
	// 0 means that the main screen is shown.
	alternate uint16
	shape     uint8  // of the cursor, as in DECSCUSR
	otherKeys uint8  // xterm's modifyOtherKeys
	kept      uint64 // by XTSAVE
	saved     bool   // the terminal has saved ownModes
}

func bit(m mode) uint64 { return 1 << m }

// restBits are the modes of a terminal at rest.
var restBits = func() (bits uint64) {
	for m, t := range modeTable {
		if t.rest {
			bits |= bit(mode(m))
		}
	}
	return bits
}()

// mouseReports are the mouse modes, of which one at a time is in force.
const mouseReports = 1<<mouseX10 | 1<<mouseClicks | 1<<mouseHilite | 1<<mouseDrags | 1<<mouseMoves

func newModes(newline bool) modes {
	m := modes{bits: restBits, kept: restBits}
	m.set(newLine, newline)
	return m
}

func (m *modes) on(which mode) bool { return m.bits&bit(which) != 0 }

func (m *modes) set(which mode, on bool) {
	if on {
		m.bits |= bit(which)
	} else {
		m.bits &^= bit(which)
	}
}

// softReset applies DECSTR to the modes.
func (m *modes) softReset() {
	for _, which := range []mode{appCursor, originMode, autoWrap, cursorShown, reverseWrap, sideMargins, keypadMode, insertMode} {
		m.set(which, modeTable[which].rest)
	}
	m.shape, m.saved = 0, false
}

// find returns the private mode with a number.
func findMode(number uint16) (mode, bool) {
	for m := range keypadMode {
		if modeTable[m].number == number {
			return m, true
		}
	}
	return 0, false
}

func (s *Screen) setANSI(number uint16, on bool) {
	switch number {
	case modeTable[insertMode].number:
		s.modes.set(insertMode, on)
	case modeTable[newLine].number:
		s.modes.set(newLine, on)
	default:
		s.residue.setANSI(number, on)
	}
}

// setMode executes DECSET and DECRST.
func (s *Screen) setMode(number uint16, on bool) {
	switch number {
	case 47, 1047, 1049:
		s.setAlternate(number, on)
		return
	case 1048:
		if on {
			s.save()
		} else {
			s.restore()
		}
		return
	}
	m, ok := findMode(number)
	if !ok {
		s.residue.private(number, on)
		return
	}
	s.modes.set(m, on)
	switch {
	case bit(m)&mouseReports != 0:
		// Resetting any of these modes ends all mouse reports.
		s.modes.mouse = 0
		if on {
			s.modes.mouse = m
		}
	case m == originMode:
		s.moveTo(s.originX(), s.originY())
	case m == sideMargins && !on:
		s.margin.left, s.margin.right = 0, s.cols-1
	}
}

// keepMode executes XTSAVE and XTRESTORE.
func (s *Screen) keepMode(number uint16, save bool) {
	m, ok := findMode(number)
	if m == altScroll || m == altEscape { // those that VTE knows
		s.modes.saved = save
	}
	switch {
	case !ok:
	case save:
		s.modes.kept = s.modes.kept&^bit(m) | s.modes.bits&bit(m)
	default:
		s.setMode(number, s.modes.kept&bit(m) != 0)
	}
}

// setAlternate switches to the alternate screen or back. 1049 saves the cursor and clears the
// screen on entry, 1047 clears on exit.
func (s *Screen) setAlternate(number uint16, on bool) {
	switch {
	case on && !s.Alternate():
		if number == 1049 {
			s.save()
		}
		if s.alt.rows == 0 {
			s.alt.init(s.cols, s.rows)
		}
		s.g, s.modes.alternate = &s.alt, number
		if number == 1049 {
			s.clearRows(0, s.rows)
		}
		s.pending = false
	case !on && s.Alternate():
		if number == 1047 {
			s.clearRows(0, s.rows)
		}
		s.g, s.modes.alternate = &s.main, 0
		s.pending = false
		if number == 1049 {
			s.restore()
		}
	case !on && number == 1049:
		s.restore()
	}
}

// keyStack holds the flags of kitty's keyboard protocol that programs have pushed. Each screen
// has its own.
type keyStack struct {
	flags [maxKeys]uint8 // the last one is in force
	n     int
}

const maxKeys = 16

func (k *keyStack) current() uint8 {
	if k.n == 0 {
		return 0
	}
	return k.flags[k.n-1]
}

// push adds an entry; if there are too many, the oldest is dropped.
func (k *keyStack) push(flags uint8) {
	if k.n == maxKeys {
		copy(k.flags[:], k.flags[1:])
		k.n--
	}
	k.flags[k.n] = flags
	k.n++
}

func (k *keyStack) pop(n int) { k.n = max(0, k.n-n) }

// change sets, adds or removes flags.
func (k *keyStack) change(flags uint8, how int) {
	if k.n == 0 {
		k.push(0)
	}
	f := &k.flags[k.n-1]
	switch how {
	case 1:
		*f = flags
	case 2:
		*f |= flags
	case 3:
		*f &^= flags
	}
}

func (s *Screen) keyboard(private byte, p *params) {
	flags := uint8(p.get(0, 0) & 31)
	switch private {
	case '>':
		s.g.keys.push(flags)
	case '<':
		s.g.keys.pop(p.get(0, 1))
	case '=':
		s.g.keys.change(flags, p.get(1, 1))
	case '?':
		s.answer("\x1b[?", int(s.g.keys.current()), "u")
	}
}

// appendMode appends the sequence that sets a mode.
func appendMode(dst []byte, m mode, on bool) []byte {
	switch {
	case m == keypadMode && on:
		return append(dst, "\x1b="...)
	case m == keypadMode:
		return append(dst, "\x1b>"...)
	}
	dst = append(dst, "\x1b["...)
	if m < keypadMode {
		dst = append(dst, '?')
	}
	return appendNumber(dst, int(modeTable[m].number), onOff(on))
}

func onOff(on bool) string {
	if on {
		return "h"
	}
	return "l"
}

func appendNumber(dst []byte, n int, after string) []byte {
	return append(strconv.AppendInt(dst, int64(n), 10), after...)
}

// Rest brings a terminal to rest after any program, including modes that a model may have
// missed. It contains only sequences that all terminals either obey in the same way or ignore.
// It moves nothing. In order: keyboard lock, insert, local echo, newline; cursor keys, keypad,
// wrapping, cursor; mouse, focus, paste, synchronised output, reports and records; the
// character set and the style.
const Rest = "\x1b[2l\x1b[4l\x1b[12h\x1b[20l\x1b[?1l\x1b>\x1b[?7h\x1b[?25h" +
	"\x1b[?9l\x1b[?1000l\x1b[?1001l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l" +
	"\x1b[?2004l\x1b[?2026l\x1b[?2031l\x1b[?2048l\x1b[?9001l\x1b(B\x0f\x1b[m"

// SaveModes makes a terminal save the modes that users set in different ways, until Undo restores
// them. Terminals that cannot save modes ignore both. In order: blinking cursor, scroll bar,
// backspace, alternate scroll, scrolling on output and keys, Alt and Meta keys, selection, bells.
//
// VTE restores a mode once, and none after a reset, even a soft one. It switches off modes that it
// has not saved. So a program that restores modes or resets the terminal leaves nothing for Undo to
// restore.
const (
	SaveModes    = "\x1b[?" + ownModes + "s"
	restoreModes = "\x1b[?" + ownModes + "r"
	ownModes     = "12;30;67;1007;1010;1011;1034;1035;1036;1037;1039;1040;1041;1042;1043"
)

// Undo appends the bytes that bring a terminal that has shown all this to rest: they leave the
// alternate screen and switch off the modes that are on. If programs have cleaned up after
// themselves, there is nothing to undo.
func (s *Screen) Undo(dst []byte) []byte {
	if s.parser.state != ground {
		dst = append(dst, "\x18\x1b\\"...) // ends a sequence that was cut off; some terminals accept only one of the two
	}
	dst = s.residue.first(dst)
	if s.margin != s.g.whole() {
		dst = s.undoMargins(dst)
	}
	dst = undoKeys(dst, &s.g.keys)
	left, origin := &s.cursor, s.modes.on(originMode)
	if s.Alternate() {
		dst = appendNumber(append(dst, "\x1b[?"...), int(s.modes.alternate), "l")
		dst = undoKeys(dst, &s.main.keys)
		if s.modes.alternate == 1049 {
			left, origin = &s.main.saved, s.main.saved.origin
		}
	}
	changed := s.modes.bits&^bit(originMode) ^ restBits
	if origin {
		changed |= bit(originMode)
	}
	if s.options.Newline {
		changed ^= bit(newLine)
	}
	for m := range modeCount {
		if changed&bit(m) != 0 {
			dst = appendMode(dst, m, modeTable[m].rest)
		}
	}
	if s.modes.otherKeys != 0 {
		dst = append(dst, "\x1b[>4m"...)
	}
	if s.modes.shape != 0 {
		dst = append(dst, "\x1b[0 q"...)
	}
	dst = s.tables.appendStyle(dst, left.pen, style{})
	if left.charset.active != 0 {
		dst = append(dst, 0x0f)
	}
	if left.charset.set[0] != 0 && s.residue.sets&1 == 0 {
		dst = append(dst, "\x1b(B"...)
	}
	dst = s.residue.rest(dst)
	dst = s.undoTabs(dst)
	if s.titles.lost > 0 { // rather none than the one of a program
		dst = append(dst, "\x1b]0;\x1b\\"...)
	}
	for range min(len(s.titles.stack)+s.titles.lost, maxTitles) {
		dst = append(dst, "\x1b[23;0t"...)
	}
	if s.modes.saved {
		dst = append(dst, restoreModes...)
	}
	return s.state.undo(dst)
}

// undoTabs restores a tab stop at every eighth column.
func (s *Screen) undoTabs(dst []byte) []byte {
	if s.usualTabs() {
		return dst
	}
	dst = append(dst, "\x1b7\x1b[3g"...)
	for x := 8; x < s.cols; x += 8 {
		dst = appendNumber(append(dst, "\x1b["...), x+1, "G\x1bH")
	}
	return append(dst, "\x1b8"...)
}

// undoMargins resets the margins and keeps the cursor, which goes home with them. The alternate
// screen restores it by itself.
func (s *Screen) undoMargins(dst []byte) []byte {
	keep := !s.Alternate()
	if keep {
		dst = append(dst, "\x1b7"...)
	}
	if s.margin.left != 0 || s.margin.right != s.cols-1 {
		dst = append(dst, "\x1b[s"...)
	}
	dst = append(dst, "\x1b[r"...)
	if keep {
		dst = append(dst, "\x1b8"...)
	}
	return dst
}

func undoKeys(dst []byte, k *keyStack) []byte {
	if k.n > 0 {
		dst = appendNumber(append(dst, "\x1b[<"...), k.n, "u")
	}
	return dst
}
