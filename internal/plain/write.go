package plain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// JSON writes v as one line of JSON in which everything that is Hidden is escaped: programs read
// the original text, and a terminal obeys none of it.
func JSON(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(Escape(text), '\n'))
	return err
}

// Escape escapes every Hidden character inside the strings of JSON text. (encoding/json already
// escapes what is below a space; outside strings that is white space.)
func Escape(text []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case r < ' ' || !Hidden(r):
			b.WriteRune(r)
		case r > 0xffff: // as two halves, RFC 8259 section 7
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// Writer passes text on with a Mark for everything that is Hidden except line breaks and tabs. It
// is the last gate before a terminal, for output by fmt.
type Writer struct {
	To   io.Writer
	rest []byte // a character that has begun
	err  error
}

// Err returns the first error of To, which callers of fmt.Fprintln do not check.
func (w *Writer) Err() error { return w.err }

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	text := append(w.rest, p...)
	w.rest = nil
	if at := begun(text); at < len(text) {
		w.rest = bytes.Clone(text[at:])
		text = text[:at]
	}
	clean := bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return visible(r)
	}, []byte(valid(string(text))))
	if _, err := w.To.Write(clean); err != nil {
		if w.err == nil {
			w.err = err
		}
		return 0, err
	}
	return len(p), nil
}

// begun returns the offset of an incomplete character at the end of p.
func begun(p []byte) int {
	for at := max(0, len(p)-utf8.UTFMax+1); at < len(p); at++ {
		if utf8.RuneStart(p[at]) && !utf8.FullRune(p[at:]) {
			return at
		}
	}
	return len(p)
}
