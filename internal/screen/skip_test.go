package screen

import (
	"bytes"
	"testing"
)

func TestPlain(t *testing.T) {
	for _, c := range []struct {
		text            string
		n, lines, reset int
	}{
		{"", 0, 0, -1},
		{"text 世界\x7f\xff and more\r\n", 24, 1, -1},
		{"\r\n\n\t\b\a", 6, 2, -1},
		{"a\x1b[31mb\x1b[mc\x1b[0md\x1b[1m", 20, 0, 11},
		{"\x1b[0;1mx", 7, 0, -1},
		{"\x1b[4:3m\x1b[K\x1b[1K", 13, 0, -1},
		{"x\x1b[31", 1, 0, -1},
		{"x\x1b[", 1, 0, -1},
		{"x\x1b", 1, 0, -1},
		{"12345678\x1b[2J", 8, 0, -1},
		{"x\x1b[>4m", 1, 0, -1},
		{"x\x1b[?25h", 1, 0, -1},
		{"x\x0e", 1, 0, -1},
		{"x\v", 1, 0, -1},
		{"x\x1bM", 1, 0, -1},
		{"x\x1b]8;;u:1\a", 1, 0, -1},
	} {
		if n, lines, reset := Plain([]byte(c.text)); n != c.n || lines != c.lines || reset != c.reset {
			t.Errorf("%q: %d bytes, %d lines, reset at %d; want %d, %d, %d", c.text, n, lines, reset, c.n, c.lines, c.reset)
		}
	}
}

func TestSkippable(t *testing.T) {
	for text, want := range map[string]bool{
		"":                       true,
		"text\x1b[31m\r\n":       true,
		"\x1b[?1049h":            false,
		"\x1b[?1049h\x1b[?1049l": true,
		"\x1b[2;5r":              false,
		"\x1b[2;5r\x1b[r":        true,
		"\x1b[?69h\x1b[2;5s":     false,
		"\x1b[?45h":              false,
		"\x1b(0":                 false,
		"\x1bN":                  false,
		"\x1b[3":                 false,
		"\x1b]2;t":               false,
		"\xe4\xb8":               false,
	} {
		s := New(20, 10, Options{})
		s.Write([]byte(text))
		if _, ok := s.Skippable(); ok != want {
			t.Errorf("after %q: %v", text, ok)
		}
	}
}

// FuzzPlain checks that plain output may come in any pieces, is followed to its end, and leaves
// nothing on the screen once enough lines have followed, whether it was shown or skipped.
func FuzzPlain(f *testing.F) {
	f.Add([]byte("\x1b[1;31mtext\x1b[0m more\r\n\x1b[32m"), uint8(4))
	f.Add([]byte("a\tb\b\a世\x1b[K\x1b[4:3m\n\x1b[2J"), uint8(1))
	enough := bytes.Repeat([]byte("\r\n"), 10)
	f.Fuzz(func(t *testing.T, p []byte, cut uint8) {
		n, lines, _ := Plain(p)
		head := p[:min(n, int(cut))]
		a, more, _ := Plain(head)
		b, rest, _ := Plain(p[a:])
		if a+b != n || more+rest != lines {
			t.Fatalf("%d bytes with %d lines, in two pieces %d and %d with %d and %d", n, lines, a, b, more, rest)
		}
		one, other := New(10, 4, Options{Lines: -1}), New(10, 4, Options{Lines: -1})
		one.Write(p[:n])
		one.Write([]byte("\r\n"))
		other.Skip(p[:n])
		for _, s := range []*Screen{one, other} {
			if _, ok := s.Skippable(); !ok {
				t.Fatalf("no more may be skipped after %q", p[:n])
			}
			s.Write(enough)
		}
		if d := differences(one, other); len(d) > 0 {
			t.Fatalf("%q: %s", p[:n], d)
		}
	})
}
