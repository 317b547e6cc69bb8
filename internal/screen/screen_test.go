package screen

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// feed returns a screen that has shown text.
func feed(cols, rows int, text string) *Screen {
	s := New(cols, rows, Options{})
	s.Write([]byte(text))
	return s
}

// drawn is the content of a cell in a form that can be compared between screens: an empty cell
// equals a space.
type drawn struct {
	text  string
	style style
	link  link
}

func (s *Screen) drawnRow(g *grid, y int) []drawn {
	var row []drawn
	for _, c := range g.row(y) {
		d := drawn{style: s.tables.styles[c.style]}
		if !c.tail() {
			d.text = string(s.tables.appendGlyph(nil, c.glyph&^wideBit))
		}
		d.link, d.style.link = s.tables.links[d.style.link], 0
		row = append(row, d)
	}
	return row
}

// differences lists the differences between two screens that a user could notice, now or later.
func differences(a, b *Screen) []string {
	var out []string
	note := func(what string, a, b any) {
		if x, y := fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b); x != y {
			out = append(out, fmt.Sprintf("%s: %s, %s", what, x, y))
		}
	}
	note("alternate", a.modes.alternate, b.modes.alternate)
	grids := func(name string, g, h *grid) {
		for y := range g.rows {
			there := b.drawnRow(h, y)
			for x, here := range a.drawnRow(g, y) {
				if here != there[x] {
					note(fmt.Sprintf("%s cell %d,%d", name, x, y), here, there[x])
				}
			}
			if g.lines[y].wrapped != h.lines[y].wrapped {
				note(fmt.Sprintf("%s row %d wrapped", name, y), g.lines[y].wrapped, h.lines[y].wrapped)
			}
		}
		note(name+" saved", a.plainCursor(g, g.saved), b.plainCursor(h, h.saved))
		note(name+" keys", g.keys.flags[:g.keys.n], h.keys.flags[:h.keys.n])
	}
	grids("main", &a.main, &b.main)
	if a.Alternate() && b.Alternate() {
		grids("alternate", &a.alt, &b.alt)
	}
	note("cursor", a.plainCursor(a.g, a.cursor), b.plainCursor(b.g, b.cursor))
	note("margins", a.margin, b.margin)
	note("tabs", a.tabs, b.tabs)
	ma, mb := a.modes, b.modes
	// These are deliberately left unset.
	ma.bits, mb.bits = ma.bits&^(mouseReports|1<<syncOutput), mb.bits&^(mouseReports|1<<syncOutput)
	ma.kept, mb.kept, ma.saved, mb.saved = 0, 0, false, false
	a.titles.lost, b.titles.lost = 0, 0
	note("modes", ma, mb)
	note("titles", a.titles, b.titles)
	note("state", a.state, b.state)
	return out
}

func (s *Screen) plainCursor(g *grid, c cursor) string {
	c.pending = c.pends(g)
	link := s.tables.links[c.pen.link]
	c.pen.link = 0
	c.origin = false
	return fmt.Sprintf("%+v %+v", c, link)
}

func checkSnapshot(t *testing.T, s *Screen) {
	t.Helper()
	shot := s.Snapshot(nil)
	again := New(s.cols, s.rows, Options{Newline: s.options.Newline})
	again.Write(shot)
	if d := differences(s, again); len(d) > 0 {
		t.Fatalf("snapshot %q\nmakes %d differences:\n%s", shot, len(d), strings.Join(d[:min(len(d), 10)], "\n"))
	}
	if twice := again.Snapshot(nil); !bytes.Equal(shot, twice) {
		t.Fatalf("snapshot:\n%q\nof that:\n%q", shot, twice)
	}
}

func FuzzSnapshot(f *testing.F) {
	for _, text := range samples {
		f.Add([]byte(text), uint8(20), uint8(5), uint64(1))
	}
	f.Fuzz(func(t *testing.T, p []byte, cols, rows uint8, seed uint64) {
		random := rand.New(rand.NewPCG(seed, seed))
		whole := New(int(cols), int(rows), Options{})
		whole.Write(p)
		parts := New(int(cols), int(rows), Options{})
		for rest := p; len(rest) > 0; {
			n := 1 + random.IntN(len(rest))
			parts.Write(slices.Clone(rest[:n]))
			rest = rest[n:]
		}
		if d := differences(whole, parts); len(d) > 0 {
			t.Fatalf("it matters how the bytes are cut:\n%s", strings.Join(d, "\n"))
		}
		checkSnapshot(t, whole)
		whole.Resize(int(seed%97), int(seed%31))
		checkSnapshot(t, whole)
		whole.Attach(nil, 100)
		back := New(whole.cols, whole.rows, Options{})
		back.Write(whole.Snapshot(nil))
		back.Write(whole.Undo(nil))
		if again := back.Undo(nil); len(again) > 0 {
			t.Fatalf("after undo there is still %q", again)
		}
	})
}

var samples = []string{
	"hello\r\nworld",
	"\x1b[31mred\x1b[0m \x1b[1;4:3;38;2;1;2;3;48;5;200;58:2::9:8:7mall\x1b[m",
	strings.Repeat("a long line that wraps, ", 5),
	"\x1b[?1049h\x1b[2J\x1b[3;4Hfull screen\x1b[?25l\x1b[?1002;1006h",
	"\x1b[2;4r\x1b[?6h\x1b[2;3Hinside\x1b7\x1b[?6l\n\n\n",
	"\x1b[?69h\x1b[5;10s\x1b[Hnarrow text that wraps in the margins\n\n\n\n\n",
	"世界 e\u0301 👨‍👩‍👧 🇩🇪 👍🏽 ❤️",
	"\x1b(0lqqqk\x1b(B\x0e\x1b)0x\x0f",
	"\x1b]0;title\a\x1b[22;0t\x1b]2;other\x1b\\\x1b]8;id=1;https://example.org\x1b\\link\x1b]8;;\x1b\\",
	"\x1b]4;1;#ff0000;2;?\a\x1b]11;rgb:00/00/00\a\x1b]7;file://host/tmp\a\x1b]9;4;1;50\a",
	"\x1b[>1u\x1b[>31u\x1b[=5;2u\x1b[<u\x1b[>4;2m\x1b[?u\x1b[c\x1b[>c\x1b[6n\x1b[>q\x1b[?2026$p",
	"\x1b[3g\x1b[5G\x1bH\x1b[9G\x1bH\rx\ty\tz\x1b[2Iw\x1b[Zv",
	"\x1b[10GX\x1b[5b\x1b[4h\x1b[1Gins\x1b[4l\x1b[2P\x1b[3@\x1b[2X\x1b[L\x1b[M\x1b[S\x1b[T\x1b#8",
	"\x1bPq#0;2;0;0;0~~@@\x1b\\after\x1b_Gf=100;AAAA\x1b\\\x1b]1337;File=:AAAA\a",
	"\x1bP$qm\x1b\\\x1bP$qr\x1b\\\x1bP+q544e\x1b\\",
	"12345678901234567890\x1b7\x1b[31m",
}

func TestSamples(t *testing.T) {
	for _, text := range samples {
		checkSnapshot(t, feed(20, 5, text))
	}
}
