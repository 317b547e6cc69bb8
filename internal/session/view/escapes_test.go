//go:build linux

package view

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

// typedIn types pieces, and returns the input of the session and whether the user detaches. No
// input follows the last piece.
func typedIn(e *escapes, pieces ...[]byte) (sent []byte, left bool) {
	for _, p := range pieces {
		sent = append(sent, e.filter(p)...)
	}
	for range 3 {
		if e.patience() < 0 || left {
			break
		}
		var rest []byte
		rest, left = e.settle()
		sent = append(sent, rest...)
	}
	return sent, left
}

func pieces(p []byte, n int) (all [][]byte) {
	for len(p) > 0 {
		m := min(n, len(p))
		all = append(all, p[:m])
		p = p[m:]
	}
	return all
}

func TestEscapes(t *testing.T) {
	for _, c := range []struct {
		typed, sent  string
		left, typing bool // typing: only keys that arrive one by one; all at once count as pasted
	}{
		{"ls\r", "ls\r", false, false},
		{"~d", "", true, false},
		{"\r~d", "\r", true, false},
		{"ls\r~d", "ls\r", true, true},
		{"ls\n~drop", "ls\n~drop", false, false},
		{"~d\r", "~d\r", false, false},
		{"~d\r~d", "~d\r", true, true},
		{"cd ~d\r", "cd ~d\r", false, false},
		{"~.", "", true, false},
		{"ls\r~.", "ls\r", true, true},
		{"~./x\r", "~./x\r", false, false},
		{"\x1b[200~a\n~.\x1b[201~", "\x1b[200~a\n~.\x1b[201~", false, false},
		{"~~d", "~d", false, true},
		{"~~~d", "~~d", false, true},
		{"~/x\r", "~/x\r", false, false},
		{"~\r~d", "~\r", true, true},
		{"\x1b[200~a\n~d", "\x1b[200~a\n~d", false, false},
		{"\x1b[200~a\n~d\x1b[201~", "\x1b[200~a\n~d\x1b[201~", false, false},
		{"\x1b[200~a\n\x1b[201~\r~d", "\x1b[200~a\n\x1b[201~\r", true, true},
		{"\r\x1b[I~d", "\r\x1b[I", true, false},               // a report of the focus is no key
		{"\r\x1b[<35;1;1M~d", "\r\x1b[<35;1;1M", true, false}, // nor is a report of the mouse
		{"ls\x1bOM~d", "ls\x1bOM", true, true},                // Enter on the keypad
		{"ls\x1b[57414u~d", "ls\x1b[57414u", true, true},      // in kitty's protocol
		{"ls\x1bOA~d", "ls\x1bOA~d", false, false},
		{"\x1b~d", "\x1b~d", false, false},
		{"é~d", "é~d", false, false},
	} {
		for _, n := range []int{1, 2, 3, 100} {
			e := &escapes{extended: func() bool { return true }}
			sent, left := typedIn(e, pieces([]byte(c.typed), n)...)
			switch {
			case c.typing && n == 100:
				c.sent, c.left = c.typed, false
			case c.typing && n > 1:
				continue
			}
			if string(sent) != c.sent || left != c.left {
				t.Errorf("%q in pieces of %d: %q %t, want %q %t", c.typed, n, sent, left, c.sent, c.left)
			}
		}
	}
}

// TestAPasteThatEndsInLeaving checks a text that ends in the keys that detach: it does not detach
// when it is pasted, wherever it is cut after the first keys, and does when it is typed.
func TestAPasteThatEndsInLeaving(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 9))
		text := append(pasted(random, 20), "~d"...)
		now := time.Unix(1000, 0)
		e := &escapes{extended: func() bool { return seed%2 == 0 }, recent: burst{now: func() time.Time { return now }}}
		var cut [][]byte
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(1+random.IntN(60)))
			cut = append(cut, rest[:n])
			rest = rest[n:]
		}
		sent, left := typedIn(e, cut...)
		if sent = append(sent, e.release(nil)...); left || !same(sent, text) {
			t.Fatalf("seed %d: left %t, %q of %q", seed, left, sent, text)
		}
	}
	for _, keys := range []int{1, 300} { // a person, also one who has pasted something before
		now := time.Unix(1000, 0)
		e := &escapes{recent: burst{now: func() time.Time { return now }}}
		e.filter(bytes.Repeat([]byte("x"), keys))
		for _, key := range "\r~d" {
			now = now.Add(settled)
			e.filter([]byte(string(key)))
		}
		if _, left := e.settle(); !left {
			t.Errorf("who has typed %d keys before cannot leave", keys)
		}
	}
}

// keyboards are the encodings with which terminals send a key.
var keyboards = map[string]func(r rune) string{
	"plain":           func(r rune) string { return string(r) },
	"kitty":           func(r rune) string { return kittySends(r, "\x1b[%d%su") },
	"kitty, events":   func(r rune) string { return kittySends(r, "\x1b[%d%s:1u") + kittySends(r, "\x1b[%d%s:3u") },
	"kitty, shift":    func(r rune) string { return "\x1b[57441;2u" + kittySends(r, "\x1b[%d%su") + "\x1b[57441;2:3u" },
	"kitty, text":     func(r rune) string { return fmt.Sprintf("\x1b[%d;;%du", 1000, r) },
	"kitty, shifted":  func(r rune) string { return fmt.Sprintf("\x1b[39:%d;2u", r) },
	"kitty, num lock": func(r rune) string { return fmt.Sprintf("\x1b[%d;129u", r) },
	"other keys 27":   func(r rune) string { return fmt.Sprintf("\x1b[27;2;%d~", r) },
	"other keys u":    func(r rune) string { return fmt.Sprintf("\x1b[%d;2u", r) },
	"records":         func(r rune) string { return fmt.Sprintf("\x1b[68;32;%d;1;0;1_\x1b[68;32;%d;0;0;1_", r, r) },
}

// kittySends returns a key with an English keyboard: ~ is ` with Shift.
func kittySends(r rune, format string) string {
	if r == '~' {
		return fmt.Sprintf(format, '`', ";2")
	}
	return fmt.Sprintf(format, r, ";1")
}

func TestLeavingInEveryKeyboardMode(t *testing.T) {
	for name, key := range keyboards {
		send := func(text string) string {
			var b strings.Builder
			for _, r := range text {
				b.WriteString(key(r))
			}
			return b.String()
		}
		for _, n := range []int{1, 5, 1000} {
			for text, want := range map[string]struct {
				sent string
				left bool
			}{
				"\r~d": {"\r", true}, "\r~~": {"\r~", false}, "\r~x": {"\r~x", false}, "x~d": {"x~d", false}, "~dx": {"~dx", false},
			} {
				e := &escapes{extended: func() bool { return true }}
				sent, left := typedIn(e, pieces([]byte(send(text)), n)...)
				// The bytes of a released key may come before or after.
				if left != want.left || !left && text != "\r~~" && string(sent) != send(want.sent) {
					t.Errorf("%s, %q in pieces of %d: %q, left %t", name, text, n, sent, left)
				}
			}
		}
	}
	for _, interrupt := range []string{"\x03", "\x1b[99;5u", "\x1b[99;133u", "\x1b[27;5;99~", "\x1b[1089::99;5u", "\x1b[99;5:1u\x1b[99;5:3u", "\x1b[67;46;3;1;8;1_", "\x03\x03\x03"} {
		if _, left := typedIn(&escapes{view: true}, []byte(interrupt)); !left {
			t.Errorf("--view: %q does not leave", interrupt)
		}
		if _, left := typedIn(&escapes{view: true}, []byte("\x1b[200~"+interrupt)); left {
			t.Errorf("--view: %q leaves within a paste", interrupt)
		}
		if sent, left := typedIn(&escapes{}, []byte(interrupt)); left || string(sent) != interrupt {
			t.Errorf("%q does not reach the session: %q", interrupt, sent)
		}
	}
	for _, other := range []string{"\x1b[99;6u", "\x1b[99;7u", "\x1b[99;5:3u", "\x1b[99u", "c", "\x1b[27;6;67~"} {
		if _, left := typedIn(&escapes{view: true}, []byte(other)); left {
			t.Errorf("--view: %q leaves", other)
		}
	}
}

// same reports whether the session got a text. Where it looked typed, one ~ may stand for two.
func same(sent, text []byte) bool {
	return bytes.Equal(doubled.ReplaceAll(sent, []byte("$1~")), doubled.ReplaceAll(text, []byte("$1~")))
}

// TestNoPasteLeaves checks that no paste detaches, however it is cut, and that all of it reaches
// the session.
func TestNoPasteLeaves(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 7))
		text := pasted(random, 100)
		e := &escapes{extended: func() bool { return seed%2 == 0 }}
		var cut [][]byte
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(1+random.IntN(60)))
			cut = append(cut, rest[:n])
			rest = rest[n:]
		}
		if sent, left := typedIn(e, cut...); left || !same(sent, text) {
			t.Fatalf("seed %d: left %t, %q of %q", seed, left, sent, text)
		}
	}
}

// TestAMarkThatComesSlowly checks that a mark of a paste is recognized wherever the line stops in
// it, and for however long.
func TestAMarkThatComesSlowly(t *testing.T) {
	const begin, end = "\x1b[200~", "\x1b[201~"
	for at := range len(begin) + 1 {
		for _, extended := range []bool{false, true} {
			e := &escapes{extended: func() bool { return extended }}
			var sent []byte
			left := false
			for _, piece := range []string{begin[:at], begin[at:] + "a\r", "~d", "\r", "~.", "\r" + end[:at], end[at:]} {
				more, leaves := typedIn(e, []byte(piece))
				sent, left = append(sent, more...), left || leaves
			}
			if want := begin + "a\r~d\r~.\r" + end; left || string(sent) != want {
				t.Errorf("cut at %d, extended %t: left %t, %q", at, extended, left, sent)
			}
			if _, left := typedIn(e, []byte("\r"), []byte("~"), []byte("d")); !left {
				t.Errorf("cut at %d, extended %t: nobody can leave after it", at, extended)
			}
		}
	}
}

// TestLeavingLongAfterASlowPaste checks that a slow paste delays detaching only for a moment.
func TestLeavingLongAfterASlowPaste(t *testing.T) {
	e := &escapes{bulk: time.Now().Add(-2 * bulkEnds), pause: bulkEnds}
	e.filter([]byte("~"))
	e.filter([]byte("d"))
	if got := e.patience(); e.stage != leaving || got != settled {
		t.Errorf("it waits %v for more", got)
	}
}

// TestAPasteAnswersNoQuestion checks that one key that a person presses answers a question, and
// that pasted text does not.
func TestAPasteAnswersNoQuestion(t *testing.T) {
	for _, c := range []struct {
		pieces []string
		key    rune
	}{
		{[]string{"s"}, 's'},
		{[]string{"k", "k", "k"}, 'k'}, // it repeats
		{[]string{"\x1b[107;1u"}, 'k'},
		{[]string{"\x1b"}, esc},
		{[]string{"kill"}, noKey},
		{[]string{"k", "i"}, noKey},
		{[]string{"k", "i", "k"}, noKey},
		{[]string{"s\r"}, noKey},
		{[]string{"\x1b[200~s\x1b[201~"}, noKey},
		{[]string{"\x1b[200~", "s"}, noKey},
	} {
		q, s := &question{key: noKey}, &strokes{}
		for _, p := range c.pieces {
			q.typed(s.onlyKey([]byte(p)))
		}
		if q.key != c.key {
			t.Errorf("%q: %q, want %q", c.pieces, q.key, c.key)
		}
	}
}

func FuzzStrokes(f *testing.F) {
	for _, key := range keyboards {
		f.Add([]byte(key('~')+key('d')), byte(3))
	}
	f.Add([]byte("\x1b[200~a\x1b[201~\x1b]52;c;\a\x1bOP\x1b[M   \x1b[1;1R"), byte(1))
	f.Fuzz(func(t *testing.T, typed []byte, n byte) {
		e := &escapes{}
		sent, left := typedIn(e, pieces(typed, int(n)+1)...)
		if held := e.release(nil); !left && len(held) == 0 && e.stage == idle && bytes.Count(typed, []byte("~")) == 0 && !bytes.Equal(sent, typed) {
			if !bytes.Contains(typed, []byte("\x1b[")) { // in which ~ may be, too
				t.Errorf("%q becomes %q", typed, sent)
			}
		}
		if len(sent) > len(typed) {
			t.Errorf("%q becomes %q", typed, sent)
		}
	})
}

// pasted returns text as people paste it, with many sequences that would detach.
func pasted(random *rand.Rand, lines int) []byte {
	some := []string{"~dave/run.sh", "~d", "~~d", "~", "cd ~d", "~d && rm -rf x", "", "~\t~d", "echo é~d", "\x1b[A~d", "~d~d", "make"}
	var b bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&b, "%s%s%d%s", some[random.IntN(len(some))], []string{" ", ""}[random.IntN(2)], i, []string{"\n", "\r", "\r\n"}[random.IntN(3)])
	}
	return b.Bytes()
}

// doubled is ~~ at the start of a line, which stands for one ~.
var doubled = regexp.MustCompile(`((?:^|[\r\n])(?:\r|\n)*)~~`)
