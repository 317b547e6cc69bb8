package screen

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestResize(t *testing.T) {
	type size struct{ cols, rows int }
	for _, c := range []struct {
		name, in      string
		from          size
		to            []size
		rows, history string
		x, y          int
	}{
		{"a line is broken again", "0123456789abcdef", size{20, 4}, []size{{8, 4}}, "01234567|89abcdef", "", 7, 1},
		{"and is whole again", "0123456789abcdefg", size{20, 4}, []size{{8, 4}, {20, 4}}, "0123456789abcdefg", "", 17, 0},
		{"lines stay apart", "abc\r\ndef", size{10, 4}, []size{{20, 4}}, "abc|def", "", 3, 1},
		{"what has no room goes to the history", "0123456789abcdef\r\nx", size{20, 3}, []size{{4, 3}}, "89ab|cdef|x", "01234567", 1, 2},
		{"and comes back", "0123456789abcdef\r\nx\r\ny", size{20, 3}, []size{{4, 3}, {20, 3}}, "0123456789abcdef|x|y", "", 1, 2},
		{"fewer rows", "a\r\nb\r\nc\r\nd", size{10, 4}, []size{{10, 2}}, "c|d", "a|b", 1, 1},
		{"and more again", "a\r\nb\r\nc\r\nd", size{10, 4}, []size{{10, 2}, {10, 4}}, "a|b|c|d", "", 1, 3},
		{"empty rows go first", "a\r\nb", size{10, 4}, []size{{10, 2}}, "a|b", "", 1, 1},
		{"a cleared screen stays clear", "a\r\nb\r\nc\r\nd\x1b[H\x1b[2J$", size{10, 2}, []size{{10, 5}}, "$", "a|b", 1, 0},
		{"more rows bring history", "a\r\nb\r\nc\r\nd", size{10, 2}, []size{{10, 3}}, "b|c|d", "a", 1, 2},
		{"a line that is half in the history", "0123456789abcdefghij", size{5, 2}, []size{{20, 2}}, "0123456789abcdefghij", "", 19, 0},
		{"wide characters are not divided", "世界世界", size{10, 3}, []size{{5, 3}}, "世界|世界", "", 4, 1},
		{"and close up again", "世界世界x", size{10, 3}, []size{{5, 3}, {10, 3}}, "世界世界x", "", 9, 0},
		{"the cursor stays at its character", "0123456789\x1b[5G", size{10, 3}, []size{{3, 4}}, "012|345|678|9", "", 1, 1},
		{"the cursor beyond the text", "ab\x1b[9G", size{10, 3}, []size{{20, 3}}, "ab", "", 8, 0},
		{"the alternate screen is cut", "main\x1b[?1049h\x1b[H0123456789\r\nb\r\nc", size{10, 3}, []size{{5, 2}}, "01234|b", "", 1, 1},
		{"and the main one behind it is not", "0123456789\x1b[?1049h\x1b[Hx", size{10, 3}, []size{{5, 3}, {10, 3}, {5, 3}, {12, 3}}, "x", "", 11, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(c.from.cols, c.from.rows, Options{})
			s.Write([]byte(c.in))
			for _, to := range c.to {
				s.Resize(to.cols, to.rows)
				checkSnapshot(t, s)
			}
			history := strings.Join(historyLines(s, 100), "|")
			switch {
			case s.rowsText() != c.rows || history != c.history:
				t.Errorf("%q after %q, want %q after %q", s.rowsText(), history, c.rows, c.history)
			case (s.x != c.x || s.y != c.y) && !s.Alternate():
				t.Errorf("cursor at %d,%d, want %d,%d", s.x, s.y, c.x, c.y)
			}
			if s.Write([]byte("\x1b[?1049l")); strings.HasPrefix(c.in, "0123456789\x1b[?1049h") && s.rowsText() != "0123456789" {
				t.Errorf("the main screen is %q", s.rowsText())
			}
		})
	}
}

// TestResizeKeepsText checks that no character of a line is lost or doubled, however often the size
// changes.
func TestResizeKeepsText(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var want []string
		s := New(2+random.IntN(40), 1+random.IntN(10), Options{})
		for i := range 1 + random.IntN(30) {
			line := fmt.Sprintf("%d:%s", i, strings.Repeat("é世x", random.IntN(30)))
			want = append(want, line)
			fmt.Fprintf(s, "\x1b[3%dm%s\x1b[m\r\n", i%8, line)
			if random.IntN(4) == 0 {
				s.Resize(2+random.IntN(60), 1+random.IntN(20))
			}
		}
		s.Resize(1000, 500)
		all := strings.Split(strings.TrimRight(string(s.Text(nil)), "\n"), "\n")
		// If the bottom row is empty, the history does not move.
		plain := New(1000, 500, Options{})
		plain.Write(s.History(nil, 1000))
		all = append(strings.Split(strings.TrimRight(string(plain.Text(nil)), "\n"), "\n"), all...)
		if got := strings.TrimLeft(strings.Join(all, "\n"), "\n"); got != strings.Join(want, "\n") {
			t.Fatalf("have\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	}
}
