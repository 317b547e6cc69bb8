package plain

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// Nasty are pieces of text that a terminal obeys, hides or reverses.
var nasty = []string{
	"\x1b[31m", "\x1b]0;title\a", "\x9b31m", "\u009b31m", "\x00", "\b\b\b", "\r", "\x7f", "\u202e", "\u2066", "\u2069", "\u200f", "\u061c",
	"\u200b", "\ufeff", "\u2028", "\u2029", "\xff\xfe", "\xc2", "\xed\xa0\x80", "\U000e0041", "\u00ad",
}

func clean(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r))
	}) < 0
}

func TestNothingIsObeyed(t *testing.T) {
	for _, n := range nasty {
		in := "a" + n + "b\nc" + n
		for what, out := range map[string]string{"Line": Line(in), "Text": Text(in), "Sprintf": Sprintf("%s %v", in, errors.New(in)), "Shell": Shell(in)} {
			if !clean(out) {
				t.Errorf("%s of %q is %q", what, in, out)
			}
			if what != "Text" && strings.Contains(out, "\n") {
				t.Errorf("%s of %q has lines: %q", what, in, out)
			}
		}
	}
}

// TestHiddenIsWhatUnicodeSays checks that every control and format character of Unicode is hidden,
// and no letter.
func TestHiddenIsWhatUnicodeSays(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if unicode.In(r, unicode.Cc, unicode.Bidi_Control, unicode.Zl, unicode.Zp, unicode.Variation_Selector,
			unicode.Other_Default_Ignorable_Code_Point, unicode.Noncharacter_Code_Point) && !Hidden(r) {
			t.Errorf("%U is shown", r)
		}
		// Prepended_Concatenation_Mark has a width; so have the controls of
		// hieroglyphs, musical notation and shorthand.
		if unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r) && r < 0x10000 && !Hidden(r) {
			t.Errorf("%U is shown", r)
		}
		if unicode.In(r, unicode.Letter, unicode.Nd, unicode.Punct) && r != 0x115f && r != 0x1160 && r != 0x3164 && r != 0xffa0 && Hidden(r) {
			t.Errorf("%U is hidden", r)
		}
	}
}

func TestTextThatIsPlainStays(t *testing.T) {
	for _, s := range []string{"train", "größe → 3 µs", "日本語", "שלום", "👍", "a b"} {
		if Line(s) != s || Text(s+"\n"+s) != s+"\n"+s {
			t.Errorf("%q became %q", s, Line(s))
		}
	}
	if got := Line(" a\r\nb\tc\n"); got != "a b c" {
		t.Errorf("lines became %q", got)
	}
}

type named string

func TestSprintfKeepsWhatIsNoText(t *testing.T) {
	if got := Sprintf("%d %s %v %5.1f %t", 7, named("a\x1bb"), nil, 1.25, true); got != "7 a?b <nil>   1.2 true" {
		t.Errorf("got %q", got)
	}
}

func TestWriterTakesCharactersInPieces(t *testing.T) {
	const text = "größe\x1b[2J\u202e→\n\tx\u009b"
	for size := 1; size < len(text); size++ {
		var out bytes.Buffer
		w := &Writer{To: &out}
		for rest := []byte(text); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			if n, err := w.Write(rest[:min(size, len(rest))]); err != nil || n != min(size, len(rest)) {
				t.Fatal(n, err)
			}
		}
		if out.String() != "größe?[2J?→\n\tx?" {
			t.Errorf("in pieces of %d: %q", size, out.String())
		}
	}
}

func TestJSONIsReadAsItWas(t *testing.T) {
	for _, n := range append(nasty, "\u2067x", "<&>", `"\`, "\u0085") {
		var out bytes.Buffer
		if err := JSON(&out, map[string]string{"v": n}); err != nil {
			t.Fatal(err)
		}
		if !clean(out.String()) {
			t.Errorf("%q is written as %q", n, out.String())
		}
		var back map[string]string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["v"] != strings.ToValidUTF8(n, "\ufffd") && utf8.ValidString(n) {
			t.Errorf("%q is read as %q, %v", n, back["v"], err)
		}
	}
}

// TestShellReadsOneWord checks the quoting with real shells.
func TestShellReadsOneWord(t *testing.T) {
	for _, w := range []string{"", "a", "a b", "$(id)", "`id`", "it's", `a"b\c`, "x;y", "~", "*", "-f", "größe", "[::1]:22", "a&b|c>d"} {
		out, err := exec.Command("sh", "-c", "printf %s. "+Shell(w)).Output()
		if err != nil || string(out) != w+"." {
			t.Errorf("%q is read as %q, %v", w, out, err)
		}
	}
}

// TestEveryCharacterIsClean checks every character, so that the table lacks none.
func TestEveryCharacterIsClean(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if s := Line("a" + string(r) + "z"); !clean(s) {
			t.Errorf("%U became %q", r, s)
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, n := range nasty {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !clean(Line(s)) || !clean(Text(s)) {
			t.Errorf("%q became %q", s, Line(s))
		}
		var out bytes.Buffer
		w := &Writer{To: &out}
		_, _ = w.Write([]byte(s))
		if !clean(strings.ReplaceAll(out.String(), "\t", "")) {
			t.Errorf("%q was written as %q", s, out.String())
		}
	})
}
