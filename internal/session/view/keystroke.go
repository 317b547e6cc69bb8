//go:build linux

package view

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"keyway/internal/screen"
	"keyway/internal/session/wire"
	"keyway/internal/typeahead"
)

// stroke is one item of a terminal's input: a key, or something that no person typed.
type stroke struct {
	kind strokeKind
	key  rune   // for keyPressed: the character, as typed without any keyboard mode; noKey: another key
	raw  []byte // its bytes, without those that were passed on before
	sent bool   // its start was passed on
}

// endsLine reports whether it is Enter.
func (k stroke) endsLine() bool { return k.kind == keyPressed && (k.key == '\r' || k.key == '\n') }

type strokeKind byte

const (
	keyPressed strokeKind = iota
	// report is input that a terminal sends by itself: answers, mouse, focus, key releases, and
	// modifier keys alone.
	report
	pasteBegins
	pasteEnds
)

// noKey stands for a key that makes no character.
const noKey rune = -1

// maxStroke bounds the bytes of a control sequence that is waited for.
const maxStroke = 64

// strokes splits a terminal's input. It understands plain keys, both formats of xterm's
// modifyOtherKeys, kitty's CSI u, and Windows' input records. The zero value is ready.
type strokes struct {
	part   []byte // an incomplete sequence
	passed int    // bytes of part that have been passed on
	marks  typeahead.Marks
}

// take adds p and calls each with every complete stroke. A stroke is valid until the next call.
func (s *strokes) take(p []byte, each func(stroke)) {
	p = append(s.part, p...)
	passed := s.passed
	s.part, s.passed = nil, 0
	for len(p) > 0 {
		kind, key, n := decodeStroke(p)
		if n == 0 {
			s.part, s.passed = p, passed
			return
		}
		raw := p[min(passed, n):n]
		s.marks.Follow(raw)
		each(stroke{kind, key, raw, passed > 0})
		passed = max(0, passed-n)
		p = p[n:]
	}
}

// pass returns the bytes of an incomplete sequence that have not been passed on, and marks them
// as passed on.
func (s *strokes) pass() []byte {
	p := s.part[s.passed:]
	s.marks.Follow(p)
	s.passed = len(s.part)
	return p
}

// giveUp stops waiting for the rest of a sequence: it was a key.
func (s *strokes) giveUp() { s.part, s.passed = nil, 0 }

// decodeStroke returns the stroke at the start of p and its length; 0 means that it is
// incomplete.
func decodeStroke(p []byte) (kind strokeKind, key rune, n int) {
	if p[0] != esc {
		if !utf8.FullRune(p) {
			return keyPressed, noKey, 1
		}
		key, n = utf8.DecodeRune(p)
		return keyPressed, key, n
	}
	if len(p) == 1 {
		return 0, 0, 0
	}
	switch p[1] {
	case '[':
		return decodeCSI(p)
	case 'O':
		switch {
		case len(p) == 2:
			return 0, 0, 0
		case p[2] == 'M': // Enter on the keypad
			return keyPressed, '\r', 3
		}
		return keyPressed, noKey, 3
	case 'P', ']', '_', '^', 'X': // a string, or a key with Alt
		if n := stringEnd(p); n > 0 {
			return report, noKey, n
		}
		return keyPressed, noKey, 2
	case esc:
		return keyPressed, noKey, 1
	}
	return keyPressed, noKey, 2
}

// stringEnd returns the length of the control string at the start of p; 0 if it is incomplete.
func stringEnd(p []byte) int {
	for i := 2; i < len(p); i++ {
		if p[i] == bel || p[i] == '\\' && p[i-1] == esc {
			return i + 1
		}
	}
	return 0
}

func decodeCSI(p []byte) (kind strokeKind, key rune, n int) {
	for n = 2; n < len(p); n++ {
		switch c := p[n]; {
		case c >= 0x40 && c <= 0x7e:
			return namedCSI(p, n)
		case c < 0x20 || c > 0x7e || n == maxStroke:
			return keyPressed, noKey, n // not a sequence: the bytes after it were typed
		}
	}
	return 0, 0, 0
}

// namedCSI reads the control sequence whose final byte is p[end].
func namedCSI(p []byte, end int) (kind strokeKind, key rune, n int) {
	params, final := string(p[2:end]), p[end]
	n = end + 1
	switch {
	case final == 'M' && params == "": // the mouse in X10's format
		if len(p) < n+3 {
			return 0, 0, 0
		}
		return report, noKey, n + 3
	case final == '~' && params == "200":
		return pasteBegins, noKey, n
	case final == '~' && params == "201":
		return pasteEnds, noKey, n
	case strings.HasPrefix(params, "<"), isAnswer(params, final):
		return report, noKey, n
	}
	kind, key = keyOf(params, final)
	return kind, key, n
}

// isAnswer reports whether a control sequence may be a terminal's answer to a question, or its
// report of focus.
func isAnswer(params string, final byte) bool {
	_, answer := screen.FormOf([]byte(params), final)
	return answer || params == "" && (final == 'I' || final == 'O')
}

// keyOf returns the key that the parameters of a control sequence name.
func keyOf(params string, final byte) (strokeKind, rune) {
	f := strings.Split(params, ";")
	switch {
	case final == 'u':
		return kittyKey(f)
	case final == '~' && len(f) == 3 && f[0] == "27": // CSI 27 ; modifiers ; code ~
		return keyPressed, withModifiers(number(f[2]), 0, 0, number(f[1]))
	case final == '_' && len(f) >= 4: // key ; scan ; character ; down ; state ; count
		if f[3] == "0" || f[2] == "" || f[2] == "0" {
			return report, noKey
		}
		return keyPressed, rune(number(f[2]))
	case len(f) > 1 && strings.HasSuffix(f[1], ":3"):
		return report, noKey // key release
	}
	return keyPressed, noKey
}

// Codes of kitty's modifier keys: from left Shift to ISO level 5, and the locks; and of a key
// that is Enter.
const (
	firstLock, lastLock         = 57358, 57360
	firstModifier, lastModifier = 57441, 57454
	keypadEnter                 = 57414
)

// kittyKey reads CSI code:shifted:base ; modifiers:event ; text u.
func kittyKey(f []string) (strokeKind, rune) {
	code, rest, _ := strings.Cut(f[0], ":")
	shifted, base, _ := strings.Cut(rest, ":")
	modifiers, event := "", ""
	if len(f) > 1 {
		modifiers, event, _ = strings.Cut(f[1], ":")
	}
	c := number(code)
	if event == "3" || c >= firstModifier && c <= lastModifier || c >= firstLock && c <= lastLock {
		return report, noKey
	}
	if len(f) > 2 && f[2] != "" {
		return keyPressed, rune(number(f[2]))
	}
	if c == keypadEnter {
		c = '\r'
	}
	return keyPressed, withModifiers(c, number(shifted), number(base), number(modifiers))
}

// withModifiers returns the character that a key makes. shifted and base are the characters
// that it makes with Shift and on a Latin keyboard; 0 if unknown.
func withModifiers(code, shifted, base, modifiers int) rune {
	m := max(modifiers, 1) - 1
	switch {
	case m&(wire.Alt|wire.Super|wire.Hyper|wire.Meta) != 0, m&wire.Ctrl != 0 && m&wire.Shift != 0:
		return noKey
	case m&wire.Ctrl != 0:
		if base != 0 {
			code = base
		}
		if c := code | 0x20; c >= 'a' && c <= 'z' {
			return rune(c & 0x1f)
		}
		return noKey
	case m&wire.Shift != 0 && shifted != 0:
		return rune(shifted)
	case m&wire.Shift != 0 && code == '`': // an English keyboard, most likely
		return '~'
	}
	return rune(code)
}

// number parses a parameter; 0 if it is not a number.
func number(s string) int {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// onlyKey returns the key in p, if p is nothing but one key that a person pressed, once or
// several times.
func (s *strokes) onlyKey(p []byte) (key rune, only bool) {
	only = !s.marks.Within
	n := 0
	s.take(p, func(k stroke) {
		switch {
		case k.kind == report:
		case k.kind != keyPressed || s.marks.Within || n > 0:
			only = false
		default:
			key = k.key
			n++
		}
	})
	if bytes.Equal(s.part, []byte{esc}) && n == 0 {
		s.giveUp()
		return esc, only
	}
	return key, only && n == 1
}
