package wire

import (
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// Text is the content of a stream message.
type Text struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Stream reads the content of a stream message.
func (m Message) Stream() (Text, bool) {
	var t Text
	if m.Channel != "iopub" || m.Head.Type != "stream" || json.Unmarshal(m.Content, &t) != nil {
		return Text{}, false
	}
	return t, true
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
	var c struct {
		Name string `json:"name"`
		Text pieces `json:"text"`
	}
	if m.Channel != "iopub" || m.Head.Type != "stream" || json.Unmarshal(m.Content, &c) != nil {
		return false
	}
	c.Text.size, c.Text.left = size, c.Text.times // of a member that occurs twice, the last counts
	c.Text.f = func(text string) { f(Text{c.Name, text}) }
	return json.Unmarshal(m.Content, &c) == nil
}

// pieces reads a JSON string without copying it.
type pieces struct {
	size  int // of a piece, in bytes
	times int // number of strings read
	left  int // the one that is passed to f
	f     func(string)
}

var errNoString = errors.New("no string")

// UnmarshalJSON implements json.Unmarshaler.
func (p *pieces) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	if raw[0] != '"' {
		return errNoString
	}
	p.times++
	if p.left--; p.left != 0 {
		return nil
	}
	raw = raw[1 : len(raw)-1]
	for len(raw) > 0 {
		n := 0
		for n < len(raw) && n < p.size {
			n += character(raw[n:])
		}
		var text string
		if err := json.Unmarshal(append(append([]byte{'"'}, raw[:n]...), '"'), &text); err != nil {
			return err
		}
		p.f(text)
		raw = raw[n:]
	}
	return nil
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
