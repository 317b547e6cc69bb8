package wire

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// text is JSON text whose parts are found without copies. Most of the time for a line of a cell's
// output is spent here; encoding/json takes several times as long. The methods take the offset of a
// part and return the offset after it; -1 if the text is invalid.
type text []byte

// maxDepth is the deepest nesting of objects and arrays, as in encoding/json.
const maxDepth = 10000

// members calls f with each member of the object that the text contains: its key without quotes and
// escapes, and its value as it is written. Keys are case-sensitive, as for kernels, unlike in
// encoding/json. members reports whether the text is an object. f may be nil.
func (t text) members(f func(key, value []byte)) bool {
	i := t.space(0)
	return i < len(t) && t[i] == '{' && t.end(t.object(i, 1, f))
}

// end reports whether only white space follows.
func (t text) end(i int) bool { return i >= 0 && t.space(i) == len(t) }

func (t text) space(i int) int {
	for i < len(t) && (t[i] == ' ' || t[i] == '\n' || t[i] == '\t' || t[i] == '\r') {
		i++
	}
	return i
}

func (t text) value(i, depth int) int {
	if i >= len(t) {
		return -1
	}
	switch t[i] {
	case '"':
		return t.quoted(i)
	case '{':
		return t.object(i, depth, nil)
	case '[':
		return t.list(i, depth, ']', func(i int) int { return t.value(i, depth+1) })
	case 't':
		return t.word(i, "true")
	case 'f':
		return t.word(i, "false")
	case 'n':
		return t.word(i, "null")
	}
	return t.number(i)
}

func (t text) object(i, depth int, f func(key, value []byte)) int {
	return t.list(i, depth, '}', func(key int) int {
		if key >= len(t) || t[key] != '"' {
			return -1
		}
		colon := t.quoted(key)
		if colon < 0 {
			return -1
		}
		i := t.space(colon)
		if i >= len(t) || t[i] != ':' {
			return -1
		}
		i = t.space(i + 1)
		end := t.value(i, depth+1)
		if f != nil && end >= 0 {
			f(plainKey(t[key:colon]), t[i:end:end])
		}
		return end
	})
}

// plainKey returns a key without its quotes and escapes.
func plainKey(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	s, _ := unquote(quoted) // cannot fail: the caller has parsed the string
	return []byte(s)
}

// list parses parts that are separated by commas.
func (t text) list(i, depth int, shut byte, part func(int) int) int {
	if depth > maxDepth {
		return -1
	}
	i = t.space(i + 1)
	if i < len(t) && t[i] == shut {
		return i + 1
	}
	for {
		if i = part(i); i < 0 {
			return -1
		}
		i = t.space(i)
		switch {
		case i >= len(t):
			return -1
		case t[i] == shut:
			return i + 1
		case t[i] != ',':
			return -1
		}
		i = t.space(i + 1)
	}
}

func (t text) quoted(i int) int {
	for i++; i < len(t); i++ {
		switch c := t[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c == '\\':
			if i = t.escape(i); i < 0 {
				return -1
			}
		}
	}
	return -1
}

// escape returns the offset of the last byte of an escape sequence.
func (t text) escape(i int) int {
	if i++; i >= len(t) {
		return -1
	}
	switch t[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i
	case 'u':
		for n := range 4 {
			if i+1+n >= len(t) || !isHex(t[i+1+n]) {
				return -1
			}
		}
		return i + 4
	}
	return -1
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func (t text) word(i int, w string) int {
	if len(t)-i < len(w) || string(t[i:i+len(w)]) != w {
		return -1
	}
	return i + len(w)
}

func (t text) number(i int) int {
	if i < len(t) && t[i] == '-' {
		i++
	}
	first := i
	if i = t.digits(i); i < 0 || t[first] == '0' && i > first+1 {
		return -1
	}
	if i < len(t) && t[i] == '.' {
		if i = t.digits(i + 1); i < 0 {
			return -1
		}
	}
	if i < len(t) && t[i]|0x20 == 'e' {
		if i++; i < len(t) && (t[i] == '+' || t[i] == '-') {
			i++
		}
		i = t.digits(i)
	}
	return i
}

// digits parses one or more digits.
func (t text) digits(i int) int {
	first := i
	for i < len(t) && '0' <= t[i] && t[i] <= '9' {
		i++
	}
	if i == first {
		return -1
	}
	return i
}

// simple has, by the letter after a backslash, the character that the escape sequence stands for.
var simple = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unquote returns the decoded string. It reports whether the value is a string.
func unquote(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	in := value[1 : len(value)-1]
	all := make([]byte, 0, len(in))
	for i := 0; i < len(in); i++ {
		c := in[i]
		if c == '\\' {
			if i++; in[i] == 'u' {
				return unquoteAny(value)
			}
			c = simple[in[i]]
		}
		all = append(all, c)
	}
	if !utf8.Valid(all) {
		return unquoteAny(value)
	}
	return string(all), true
}

// unquoteAny decodes the strings that unquote does not handle itself, which are rare.
func unquoteAny(value []byte) (s string, ok bool) {
	err := json.Unmarshal(value, &s)
	return s, err == nil
}

// stringsOf reads members of an object that must be strings or null.
type stringsOf struct{ bad bool } // one is neither

func (s *stringsOf) read(to *string, value []byte) {
	if string(value) == "null" {
		return
	}
	var ok bool
	*to, ok = unquote(value)
	s.bad = s.bad || !ok
}
