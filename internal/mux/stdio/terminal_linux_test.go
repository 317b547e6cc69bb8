package stdio

import (
	"testing"
)

func TestEscapes(t *testing.T) {
	for _, c := range []struct {
		typed, sent string
		ended       bool
		commands    string
	}{
		{"ls\r", "ls\r", false, ""},
		{"~.", "", true, ""},
		{"ls\r~.more", "ls\r", true, ""},
		{"a~.", "a~.", false, ""},
		{"~~x", "~x", false, ""},
		{"~~.", "~.", false, ""},
		{"~x", "~x", false, ""},
		{"\n~~\n~.", "\n~\n", true, ""},
		{"~?~B~.", "", true, "?B"},
		{"a~?", "a~?", false, ""},
		{"~\x1als\r~#x", "ls\rx", false, "\x1a#"},
		{"~C~R~V~v~&", "", false, "CRVv&"},
	} {
		for at := range len(c.typed) + 1 {
			commands := ""
			e := &Escapes{Char: '~', Command: func(_, c byte) { commands += string(rune(c)) }}
			sent, ended := e.Read([]byte(c.typed[:at]))
			if !ended {
				var more []byte
				more, ended = e.Read([]byte(c.typed[at:]))
				sent = append(sent, more...)
			}
			if string(sent) != c.sent || ended != c.ended || commands != c.commands {
				t.Errorf("%q, cut at %d: %q, %v, commands %q", c.typed, at, sent, ended, commands)
			}
		}
	}
}
