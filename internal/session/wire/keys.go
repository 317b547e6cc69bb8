//go:build linux

package wire

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"keyway/internal/screen"
)

// Characters that keys make.
const esc, del = 0x1b, 0x7f

// Key is a key as people name it: its modifiers and its name or character.
type Key struct {
	mods byte // modShift, modAlt and modCtrl
	name string
}

const keyMods = Shift | Alt | Ctrl

// code describes the bytes that terminals send for a key with a name.
type code struct {
	char   rune // its character
	final  byte // CSI final, or SS3 final if the program has requested that
	number int  // CSI number ~
	keypad byte // on the keypad: SS3 keypad if the program has requested that
	ss3    bool // SS3 always, without modifiers
}

// codes are the keys with a name, in lower case.
var codes = map[string]code{
	"enter": {char: '\r'}, "tab": {char: '\t'}, "space": {char: ' '}, "escape": {char: esc}, "bspace": {char: del},
	"up": {final: 'A'}, "down": {final: 'B'}, "right": {final: 'C'}, "left": {final: 'D'}, "end": {final: 'F'}, "home": {final: 'H'},
	"btab": {char: '\t'}, // with Shift
	"ic":   {number: 2}, "dc": {number: 3}, "ppage": {number: 5}, "npage": {number: 6},
	"f1": {final: 'P', ss3: true}, "f2": {final: 'Q', ss3: true}, "f3": {final: 'R', ss3: true}, "f4": {final: 'S', ss3: true},
	"f5": {number: 15}, "f6": {number: 17}, "f7": {number: 18}, "f8": {number: 19}, "f9": {number: 20}, "f10": {number: 21},
	"f11": {number: 23}, "f12": {number: 24},
	"kp0": {char: '0', keypad: 'p'}, "kp1": {char: '1', keypad: 'q'}, "kp2": {char: '2', keypad: 'r'}, "kp3": {char: '3', keypad: 's'},
	"kp4": {char: '4', keypad: 't'}, "kp5": {char: '5', keypad: 'u'}, "kp6": {char: '6', keypad: 'v'}, "kp7": {char: '7', keypad: 'w'},
	"kp8": {char: '8', keypad: 'x'}, "kp9": {char: '9', keypad: 'y'}, "kp*": {char: '*', keypad: 'j'}, "kp+": {char: '+', keypad: 'k'},
	"kp-": {char: '-', keypad: 'm'}, "kp.": {char: '.', keypad: 'n'}, "kp/": {char: '/', keypad: 'o'}, "kpenter": {char: '\r', keypad: 'M'},
}

// aliases are other names of keys.
var aliases = map[string]string{
	"esc": "escape", "backspace": "bspace", "insert": "ic", "delete": "dc",
	"pageup": "ppage", "pgup": "ppage", "pagedown": "npage", "pgdn": "npage",
}

// ParseKey reads a key in tmux's notation, with the prefixes C-, M- and S-, or ^ for C-. Any
// other word is text. dc is text, too, because it is a program, but DC is a key.
func ParseKey(word string) (k Key, ok bool) {
	rest := word
	for len(rest) > 2 && rest[1] == '-' {
		mod, known := map[byte]byte{'C': Ctrl, 'M': Alt, 'S': Shift}[rest[0]]
		if !known {
			break
		}
		k.mods |= mod
		rest = rest[2:]
	}
	if len(rest) == 2 && rest[0] == '^' {
		k.mods |= Ctrl
		rest = rest[1:]
	}
	if utf8.RuneCountInString(rest) == 1 {
		k.name = rest
		return k, k.mods != 0 && k.known()
	}
	k.name = strings.ToLower(rest)
	if alias, ok := aliases[k.name]; ok {
		k.name = alias
	}
	if short := k.name == "ic" || k.name == "dc"; short && rest == k.name {
		return k, false
	}
	if k.name == "btab" {
		k.mods |= Shift
	}
	return k, k.known()
}

// known reports whether the key exists.
func (k Key) known() bool {
	if k.mods&^byte(keyMods) != 0 {
		return false
	}
	if r, n := utf8.DecodeRuneInString(k.name); n == len(k.name) {
		return r >= ' ' && r != del && (r != utf8.RuneError || n > 1)
	}
	_, ok := codes[k.name]
	return ok
}

// Encode returns the bytes that a terminal sends for the key to a program that has set the
// given keyboard modes.
func (k Key) Encode(as screen.Keyboard) []byte {
	c, named := codes[k.name]
	if !named {
		c.char, _ = utf8.DecodeRuneInString(k.name)
	}
	switch {
	case c.keypad != 0 && as.AppKeypad && k.mods == 0:
		return []byte{esc, 'O', c.keypad}
	case c.number != 0 && k.mods == 0:
		return fmt.Appendf(nil, "\x1b[%d~", c.number)
	case c.number != 0:
		return fmt.Appendf(nil, "\x1b[%d;%d~", c.number, k.mods+1)
	case c.final != 0 && k.mods != 0:
		return fmt.Appendf(nil, "\x1b[1;%d%c", k.mods+1, c.final)
	case c.final != 0 && (c.ss3 || as.AppCursor):
		return []byte{esc, 'O', c.final}
	case c.final != 0:
		return []byte{esc, '[', c.final}
	}
	plain, exact := k.legacy(c.char, as)
	return k.extended(c.char, as, plain, exact)
}

// extended returns the bytes for a program that has requested keys as control sequences. plain
// are the bytes for other programs; exact says that no other key sends them.
func (k Key) extended(char rune, as screen.Keyboard, plain []byte, exact bool) []byte {
	const disambiguate, all = 1, 8
	typed := k.mods&^Shift == 0 && char > ' ' && char != del // a character, not a key
	usual := k.mods == 0 && char != esc                      // Enter, Tab, Space, Backspace
	switch {
	case as.Kitty&all != 0, as.Kitty&disambiguate != 0 && !typed && !usual:
		if k.mods == 0 {
			return fmt.Appendf(nil, "\x1b[%du", char)
		}
		return fmt.Appendf(nil, "\x1b[%d;%du", unicode.ToLower(char), k.mods+1)
	case typed || k.mods == 0:
		return plain
	case as.OtherKeys > 1, as.OtherKeys == 1 && !exact:
		return fmt.Appendf(nil, "\x1b[27;%d;%d~", k.mods+1, char)
	}
	return plain
}

// controls are the characters that Ctrl makes of keys other than those from @ to _.
var controls = map[rune]byte{
	' ': 0, '2': 0, '3': esc, '4': 0x1c, '5': 0x1d, '6': 0x1e, '7': 0x1f, '/': 0x1f, '8': del, '?': del, '\r': '\r', '\t': '\t', esc: esc,
}

// legacy returns the bytes that a terminal sends without any keyboard mode, and reports whether
// no other key sends the same.
func (k Key) legacy(char rune, as screen.Keyboard) (sent []byte, exact bool) {
	exact = k.mods&Shift == 0 || char > ' ' && char != del
	if k.mods&Shift != 0 {
		char = unicode.ToUpper(char)
	}
	sent = utf8.AppendRune(nil, char)
	switch upper := unicode.ToUpper(char); {
	case char == '\t' && k.mods&Shift != 0:
		sent, exact = []byte("\x1b[Z"), k.mods == Shift
	case char == del && as.Backspace != (k.mods&Ctrl != 0):
		sent = []byte{'\b'}
	case char == '\r' && as.Newline && k.mods == 0:
		sent = []byte("\r\n")
	case k.mods&Ctrl != 0 && upper >= '@' && upper <= '_':
		sent = []byte{byte(upper & 0x1f)}
	case k.mods&Ctrl != 0:
		c, ok := controls[char]
		if ok {
			sent = []byte{c}
		}
		exact = exact && ok && char != '\r' && char != '\t' && char != esc
	}
	if k.mods&Alt != 0 {
		sent = append([]byte{esc}, sent...)
	}
	return sent, exact
}

// Modifiers in control sequences: 1 plus the sum of these.
const (
	Shift = 1 << iota
	Alt
	Ctrl
	Super
	Hyper
	Meta
)
