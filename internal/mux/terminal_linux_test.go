package mux

import (
	"testing"
)

func TestEscapes(t *testing.T) {
	for _, c := range []struct {
		typed, sent string
		ended       bool
	}{
		{"ls\r", "ls\r", false},
		{"~.", "", true},
		{"ls\r~.more", "ls\r", true},
		{"a~.", "a~.", false},
		{"~~x", "~x", false},
		{"~~.", "~.", false},
		{"~x", "~x", false},
		{"\n~~\n~.", "\n~\n", true},
	} {
		for at := range len(c.typed) + 1 {
			e := &escapes{char: '~'}
			sent, ended := e.read([]byte(c.typed[:at]))
			if !ended {
				var more []byte
				more, ended = e.read([]byte(c.typed[at:]))
				sent = append(sent, more...)
			}
			if string(sent) != c.sent || ended != c.ended {
				t.Errorf("%q, cut at %d: %q, %v", c.typed, at, sent, ended)
			}
		}
	}
}
