package wire

import "unicode/utf8"

// Text is the content of a stream message.
type Text struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Stream returns the content of a stream message. ok reports whether the message is one.
func (m Message) Stream() (t Text, ok bool) {
	var value []byte
	if t.Name, value, ok = m.stream(); ok && value != nil {
		t.Text, ok = unquote(value)
	}
	if !ok {
		return Text{}, false
	}
	return t, true
}

// stream returns the name of a stream and its text as it is written; nil if it has none. ok reports
// whether the message belongs to a stream.
func (m Message) stream() (name string, value []byte, ok bool) {
	if m.Channel != "iopub" || m.Head.Type != "stream" {
		return "", nil, false
	}
	var all stringsOf
	named := []byte("null")
	ok = text(m.Content).members(func(key, v []byte) {
		switch string(key) {
		case "name":
			named = v
		case "text":
			value = v
		}
	})
	all.read(&name, named)
	if value != nil && value[0] != '"' {
		value, all.bad = nil, all.bad || value[0] != 'n'
	}
	return name, value, ok && !all.bad
}

// maxPiece is the approximate size, in bytes, of the pieces into which Texts divides a text.
const maxPiece = 128 << 10

// Texts is Stream for a text that may be large: f receives it in pieces of whole characters. It
// reports whether the message belongs to a stream; if not, f is not called.
func (m Message) Texts(f func(Text)) bool { return m.texts(maxPiece, f) }

func (m Message) texts(size int, f func(Text)) bool {
	if len(m.Content) <= size {
		t, ok := m.Stream()
		if ok {
			f(t)
		}
		return ok
	}
	name, value, ok := m.stream()
	if !ok || value == nil {
		return ok
	}
	for rest := value[1 : len(value)-1]; len(rest) > 0; {
		n := 0
		for n < len(rest) && n < size {
			n += character(rest[n:])
		}
		text, _ := unquote(append(append([]byte{'"'}, rest[:n]...), '"')) // whole characters of a string
		f(Text{name, text})
		rest = rest[n:]
	}
	return true
}

// character returns the number of bytes of the first character in s, the inside of a JSON string.
func character(s []byte) int {
	if s[0] != '\\' {
		_, n := utf8.DecodeRune(s)
		return n
	}
	switch {
	case s[1] != 'u':
		return 2
	case half(s, '8', 'b') && len(s) >= 12 && half(s[6:], 'c', 'f'):
		return 12
	}
	return 6
}

// half reports whether s begins with an escaped surrogate, \uD800 and on, whose second digit is
// within bounds: 8 to B for a first half, C to F for a second.
func half(s []byte, from, to byte) bool {
	second := s[3] | 0x20 // lower case; digits do not change
	return s[0] == '\\' && s[1] == 'u' && s[2]|0x20 == 'd' && from <= second && second <= to
}
