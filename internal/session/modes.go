//go:build linux

package session

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// modes follows a terminal's output and remembers what has been switched on, so
// that a terminal can be brought into that state and out of it again. Only what
// differs from a terminal as a shell expects it is remembered, so undo of a
// program that has cleaned up after itself is empty.
type modes struct {
	private map[int]bool // DEC private modes of watched that are not at rest
	keypad  bool         // application keypad
	shape   bool         // cursor shape set
	kitty   int          // depth of the kitty keyboard stack
	margins bool         // scrolling region set
	styled  bool         // colours or other attributes are on

	state  byte   // of the parser: 0, ESC or '['
	params []byte // of the sequence being parsed
}

// watched are the DEC private modes that a program may leave behind to the
// annoyance of the next one; the value is the mode at rest.
var watched = map[int]bool{
	1: false, 5: false, 6: false, 7: true, 9: false, 25: true, 47: false, 66: false,
	1000: false, 1001: false, 1002: false, 1003: false, 1004: false, 1005: false, 1006: false, 1007: false,
	1015: false, 1016: false, 1047: false, 1048: false, 1049: false, 2004: false, 2026: false, 2031: false, 2048: false,
}

// maxParams bounds a control sequence; longer ones are none that matter here.
const maxParams = 64

const esc = 0x1b

// write follows p.
func (m *modes) write(p []byte) {
	for len(p) > 0 {
		if m.state == 0 {
			at := bytes.IndexByte(p, esc)
			if at < 0 {
				return
			}
			m.state, p = esc, p[at+1:]
			continue
		}
		m.step(p[0])
		p = p[1:]
	}
}

func (m *modes) step(c byte) {
	switch {
	case c == esc:
		m.state = esc
	case m.state == esc:
		m.escape(c)
	case c >= 0x40 && c <= 0x7e:
		m.state = 0
		m.control(c)
	case c >= 0x20 && c < 0x40 && len(m.params) < maxParams:
		m.params = append(m.params, c)
	case c >= 0x20:
		m.state = 0 // too long, or not ASCII
	}
}

func (m *modes) escape(c byte) {
	m.state = 0
	switch c {
	case '[':
		m.state = '['
		m.params = m.params[:0]
	case '=':
		m.keypad = true
	case '>':
		m.keypad = false
	case 'c': // full reset
		*m = modes{params: m.params}
	}
}

// control is the end of a control sequence.
func (m *modes) control(final byte) {
	params := string(m.params)
	switch {
	case params == "!" && final == 'p': // soft reset
		*m = modes{params: m.params, private: m.private}
		m.setPrivate("?25", true)
		m.setPrivate("?1;6", false)
	case final == 'h' || final == 'l':
		m.setPrivate(params, final == 'h')
	case final == 'm':
		m.styled = params != "" && params != "0"
	case final == 'q' && strings.HasSuffix(params, " "):
		m.shape = params != " " && params != "0 "
	case final == 'r' && (params == "" || params[0] >= '0' && params[0] <= ';'):
		m.margins = params != ""
	case final == 'u' && strings.HasPrefix(params, ">"):
		m.kitty = min(m.kitty+1, 16)
	case final == 'u' && strings.HasPrefix(params, "<"):
		n, err := strconv.Atoi(params[1:])
		if err != nil {
			n = 1
		}
		m.kitty = max(0, m.kitty-n)
	}
}

func (m *modes) setPrivate(params string, on bool) {
	list, private := strings.CutPrefix(params, "?")
	if !private {
		return
	}
	for field := range strings.SplitSeq(list, ";") {
		mode, err := strconv.Atoi(field)
		rest, known := watched[mode]
		switch {
		case err != nil || !known:
		case on == rest:
			delete(m.private, mode)
		default:
			if m.private == nil {
				m.private = map[int]bool{}
			}
			m.private[mode] = on
		}
	}
}

func (m *modes) clone() modes {
	c := *m
	c.private = maps.Clone(m.private)
	c.params = slices.Clone(m.params)
	return c
}

// alternate says whether a full-screen program has the alternate screen.
func (m *modes) alternate() bool {
	return m.private[47] || m.private[1047] || m.private[1049]
}

// set is what brings a terminal at rest into these modes.
func (m *modes) set() []byte { return m.sequences(true) }

// undo is what brings a terminal from these modes to rest.
func (m *modes) undo() []byte {
	var b []byte
	switch { // it moves the cursor, which the alternate screen brings back itself
	case m.margins && m.alternate():
		b = append(b, "\x1b[r"...)
	case m.margins:
		b = append(b, "\x1b7\x1b[r\x1b8"...)
	}
	b = append(b, m.sequences(false)...)
	if m.styled {
		b = append(b, "\x1b[m"...)
	}
	if m.kitty > 0 {
		b = append(b, "\x1b[<"+strconv.Itoa(m.kitty)+"u"...)
	}
	if m.shape {
		b = append(b, "\x1b[0 q"...)
	}
	return b
}

// sequences sets or unsets the modes that set must restore. Synchronised output
// is never restored: the terminal would freeze.
func (m *modes) sequences(set bool) []byte {
	var b []byte
	for _, mode := range slices.Sorted(maps.Keys(m.private)) {
		if set && mode == 2026 {
			continue
		}
		final := byte('l')
		if m.private[mode] == set {
			final = 'h'
		}
		b = append(b, "\x1b[?"+strconv.Itoa(mode)...)
		b = append(b, final)
	}
	switch {
	case m.keypad && set:
		b = append(b, "\x1b="...)
	case m.keypad:
		b = append(b, "\x1b>"...)
	}
	return b
}
