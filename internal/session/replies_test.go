//go:build linux

package session

import (
	"bytes"
	"testing"
)

func TestReplies(t *testing.T) {
	for _, c := range []struct{ sent, typed string }{
		{"ls -l\r", "ls -l\r"},
		{"\x1b", "\x1b"},
		{"\x1b[A\x1bOP\x1bx\x1b[1;5C\x1b[15~", "\x1b[A\x1bOP\x1bx\x1b[1;5C\x1b[15~"}, // keys
		{"\x1b[1;2R\x1b[97;5u", "\x1b[1;2R\x1b[97;5u"},                               // Shift-F3, a key of kitty's protocol
		{"\x1b[200~pasted\x1b[201~", "\x1b[200~pasted\x1b[201~"},
		{"\x1b[<0;3;4M\x1b[<0;3;4m", "\x1b[<0;3;4M\x1b[<0;3;4m"}, // the mouse
		{"\x1b]", "\x1b]"},   // Alt-]
		{"\x1bP", "\x1bP"},   // Alt-Shift-P
		{"\x1b[?62;22c", ""}, // device attributes
		{"a\x1b[>1;277;0cb", "ab"},
		{"\x1b[24;80R\x1b[?24;80;1R", ""},
		{"\x1b[0n\x1b[?997;1n\x1b[?2026;2$y\x1b[?1u\x1b[8;24;80t\x1b[I\x1b[O", ""},
		{"\x1b]11;rgb:0000/0000/0000\x1b\\x\x1b]10;rgb:ffff/ffff/ffff\x07y", "xy"},
		{"\x1bP>|XTerm(390)\x1b\\\x1b_Gi=1;OK\x1b\\z", "z"},
	} {
		for cut := range len(c.sent) {
			if cut > 0 && (c.typed != "" || c.sent[cut-1] == esc) {
				continue // a key arrives in one piece, an answer may not
			}
			var r replies
			typed := string(r.typed([]byte(c.sent[:cut]))) + string(r.typed([]byte(c.sent[cut:])))
			if typed != c.typed {
				t.Errorf("%q cut at %d: %q was typed, want %q", c.sent, cut, typed, c.typed)
			}
		}
	}
}

// Whatever a terminal sends: what is taken as typed is a part of it, in order, and
// what is kept back is bounded.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("a\x1b[?62;22cb\x1b]11;rgb\x1b"), []byte("\\\x1b[1;2Rx"))
	f.Add([]byte("\x1b["), bytes.Repeat([]byte("1;"), 100))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var r replies
		typed := append([]byte(nil), r.typed(first)...)
		typed = append(typed, r.typed(second)...)
		if len(r.held) > len(first)+len(second) || len(r.held) > 2*maxHeld {
			t.Fatalf("%d bytes are held", len(r.held))
		}
		rest := append(append([]byte(nil), first...), second...)
		for _, c := range typed {
			at := bytes.IndexByte(rest, c)
			if at < 0 {
				t.Fatalf("%q was typed of %q %q", typed, first, second)
			}
			rest = rest[at+1:]
		}
	})
}
