package screen

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"unicode"

	"github.com/clipperhouse/displaywidth"
)

// heapOf returns the memory of the Screen that make returns, in bytes.
func heapOf(make func() *Screen) int64 {
	measure := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := measure()
	s := make()
	used := measure() - before
	runtime.KeepAlive(s)
	return used
}

func TestMemory(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	garbage := func(s *Screen) {
		alphabet := []string{"\x1b[", "\x1b]8;id=%d;http://x/%d\a", "\x1b[38;2;%d;%d;1m", "é", "e\u0301\u0302%d", "👨‍👩‍👧", "\x1b]4;%d;#fff\a", "\x1b]2;%d\a\x1b[22t", "\r\n", ";", "%dH", "\x1bP", "\x1b\\", "\x1b[?1049h", "\x1b[?1049l", "text "}
		for range 100_000 {
			part := alphabet[random.IntN(len(alphabet))]
			for strings.Contains(part, "%d") {
				part = strings.Replace(part, "%d", fmt.Sprint(random.IntN(10_000)), 1)
			}
			s.Write([]byte(part))
		}
	}
	for _, c := range []struct {
		name  string
		bound int64
		make  func() *Screen
	}{
		{"nothing", 200 << 10, func() *Screen { return New(100, 30, Options{}) }},
		{"50,000 coloured lines", 9_000_000, func() *Screen {
			s := New(100, 30, Options{})
			for i := range 50_000 {
				fmt.Fprintf(s, "\x1b[2m%08d\x1b[0m \x1b[1;32mINFO\x1b[0m \x1b[36mtrain.py\x1b[0m:\x1b[38;5;%dm%d\x1b[0m loss=\x1b[33m0.%04d\x1b[0m and some more text after it\r\n", i, i%256, i%300, i%10000)
			}
			if n := s.HistoryLines(); n < 49_900 {
				t.Errorf("%d lines", n)
			}
			return s
		}},
		{"lines of many colours", 10 << 20, func() *Screen {
			s := New(100, 30, Options{})
			for i := range 5000 {
				for x := range 100 {
					fmt.Fprintf(s, "\x1b[48;2;%d;%d;%dm ", x, i%256, i/256)
				}
			}
			return s
		}},
		{"anything", 16 << 20, func() *Screen {
			s := New(100, 30, Options{})
			garbage(s)
			return s
		}},
		{"a string without an end", 9 << 20, func() *Screen {
			s := New(100, 30, Options{})
			for _, start := range []string{"\x1b]0;", "\x1bPq", "\x1b_G", "\x1bP$q", "\x1b[1;"} {
				s.Write([]byte(start))
				s.Write(bytes.Repeat([]byte("123456789;"), 1<<17))
				s.Write([]byte("\x1b\\"))
			}
			return s
		}},
		{"accents without end", 1 << 20, func() *Screen {
			s := New(100, 30, Options{})
			s.Write([]byte("e" + strings.Repeat("\u0301", 1<<16)))
			return s
		}},
	} {
		if used := heapOf(c.make); used > c.bound {
			t.Errorf("%s: %d bytes, more than %d", c.name, used, c.bound)
		}
	}
}

// TestBound checks that the size of a screen is bounded.
func TestBound(t *testing.T) {
	for _, c := range [][4]int{{80, 24, 80, 24}, {0, 0, 1, 1}, {-5, 3, 1, 3}, {1 << 30, 1 << 30, 4096, 256}, {100, 1 << 20, 100, 10485}} {
		if cols, rows := Bound(c[0], c[1]); cols != c[2] || rows != c[3] {
			t.Errorf("Bound(%d, %d) is %d, %d", c[0], c[1], cols, rows)
		}
	}
}

// TestWidths checks that widths agree with another source, with the listed exceptions.
func TestWidths(t *testing.T) {
	wrong := 0
	for r := rune(0xa0); r <= 0x10ffff; r++ {
		if r >= 0xd800 && r <= 0xdfff || unlike(r) {
			continue
		}
		if ours, theirs := runeWidth(r), displaywidth.Rune(r); ours != theirs {
			if wrong++; wrong <= 40 {
				t.Errorf("U+%04X: %d, displaywidth %d", r, ours, theirs)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d differ", wrong)
	}
}

// unlike are characters for which displaywidth follows a newer version of Unicode, or grapheme
// clusters where terminals follow wcwidth.
func unlike(r rune) bool {
	switch {
	case r == 0xad: // a soft hyphen is shown
	case r >= 0x600 && r <= 0x605 || r == 0x6dd || r == 0x70f || r == 0x890 || r == 0x891 || r == 0x8e2 || r == 0x110bd || r == 0x110cd: // before what they combine with
	case r >= 0x1160 && r <= 0x11ff: // vowels and finals of Hangul
	case isRegional(r): // half a flag
	case r == 0x2028 || r == 0x2029: // separators that nothing separates by
	case r >= 0x2630 && r <= 0x2637 || r >= 0x268a && r <= 0x268f || r >= 0x4dc0 && r <= 0x4dff || r >= 0x1d300 && r <= 0x1d37f: // wide since Unicode 16
	default:
		return !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.Cf, unicode.Co) // not assigned in our version
	}
	return true
}

// TestSpans checks that the known widths of characters are kept in ascending order.
func TestSpans(t *testing.T) {
	for name, spans := range map[string][]span{"wide": wideSpans[:], "zero": zeroSpans[:], "pictograph": pictographSpans[:]} {
		for i, s := range spans {
			if s.first > s.last || s.first < firstWide || i > 0 && spans[i-1].last >= s.first {
				t.Errorf("%s: %x", name, s)
			}
		}
	}
}
