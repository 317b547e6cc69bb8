//go:build linux

package lines

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"keyway/internal/session/wire"
)

// collapsed returns an output as keyway logs prints it. w is the size of the terminal, or
// pipeWindow for none.
func collapsed(t testing.TB, w wire.Window, output string, piece int) string {
	t.Helper()
	var got bytes.Buffer
	s := wire.TTY
	if w == pipeWindow {
		s = wire.Stdout
	}
	run := func(c *Collapsers) *Collapser {
		for p := []byte(output); len(p) > 0; p = p[min(piece, len(p)):] {
			if err := c.Put(s, p[:min(piece, len(p))]); err != nil {
				t.Fatal(err)
			}
		}
		return c.Of(s)
	}
	c := &Collapsers{Window: w, Exact: true, Emit: func(_ wire.Stream, p []byte) error { got.Write(p); return nil }}
	scan := &upScan{}
	for i := range len(output) {
		_ = scan.Put(s, []byte{output[i]})
	}
	depth := run(&Collapsers{Window: w}).Depth
	if depth > 0 && !scan.up {
		t.Fatalf("%q goes up %d rows, which is not seen", output, depth)
	}
	c.Depths[s] = depth
	if err := run(c).close(); err != nil {
		t.Fatal(err)
	}
	return got.String()
}

func TestCollapse(t *testing.T) {
	var bar, two strings.Builder
	for range 5 {
		bar.WriteString("\r 10%|#         |\r 60%|######    |")
	}
	two.WriteString("\router 0%\n\rinner 0%")
	for _, percent := range []string{"30%", "60%", "100%"} {
		two.WriteString("\r\x1b[Aouter " + percent + "\n\rinner " + percent)
	}
	for name, c := range map[string]struct{ output, want string }{
		"lines":               {"one\ntwo  \n\tthree\n\n", "one\ntwo  \n\tthree\n\n"},
		"of a terminal":       {"one\r\ntwo\r\n", "one\ntwo\n"},
		"colours":             {"\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n"},
		"no end":              {"one\ntwo", "one\ntwo"},
		"a bar":               {"begin\n" + bar.String() + "\r100%|##########|\nend\n", "begin\n100%|##########|\nend\n"},
		"a bar at the end":    {bar.String(), " 60%|######    |\n"},
		"two bars":            {two.String() + "\nend\n", "outer 100%\ninner 100%\nend\n"},
		"a shorter last word": {"\rlong text\r\x1b[Kdone\n", "done\n"},
		"backspaces":          {"abc\b\b\bxyz\n", "xyz\n"},
		"lines after a bar":   {"\ra\rb\n1\n2\n3\n4\n5\n", "b\n1\n2\n3\n4\n5\n"},
		"blank lines stay":    {"\ra\rb\n\n\n\n\nx\n", "b\n\n\n\n\nx\n"},
		"a full screen":       {"before\n\x1b[?1049h\x1b[Hhello\x1b[?1049lafter\n", "before\nafter\n"},
		"a title":             {"\x1b]0;title\x07text\n", "text\n"},
		"many rows":           {"\r" + strings.Repeat("x\r\ny\x1b[K\n", 100), strings.Repeat("x\ny\n", 100)},
	} {
		for _, piece := range []int{1, 3, 1000} {
			if got := collapsed(t, pipeWindow, c.output, piece); got != c.want {
				t.Errorf("%s by %d: %q, want %q", name, piece, got, c.want)
			}
		}
	}
	long := strings.Repeat("0123456789", 50_000)
	if got := collapsed(t, pipeWindow, long+"\nend", 10_000); got != long+"\nend" {
		t.Errorf("a long line became %d bytes", len(got))
	}
}

// FuzzCollapse checks that output that only prints is unchanged, and that no output makes the
// result grow much.
func FuzzCollapse(f *testing.F) {
	f.Add([]byte("a\r 10%\r 20%\nb\x1b[31mc\n"), 3)
	f.Add([]byte("\x1b[?1049h\x1b[2J\x1b[10;10H\x1b[999b"), 1)
	f.Fuzz(func(t *testing.T, output []byte, piece int) {
		piece = 1 + piece&0xff
		got := collapsed(t, pipeWindow, string(output), piece)
		if bytes.IndexFunc(output, func(r rune) bool { return r < ' ' && r != '\n' }) < 0 && got != string(output) {
			t.Fatalf("%q became %q", output, got)
		}
		for _, w := range []wire.Window{pipeWindow, {Rows: 5, Cols: 20}, {Rows: 24, Cols: 80}} {
			if cut, whole := collapsed(t, w, string(output), piece), collapsed(t, w, string(output), len(output)+1); cut != whole {
				t.Fatalf("by %d %q becomes %q, else %q", piece, output, cut, whole)
			}
		}
	})
}

// TestALineInPlaceOfAFoldedBar checks text that a program prints in place of a bar whose line a
// smaller window has folded. It is a separate line, however the program moves to the start of the
// row.
func TestALineInPlaceOfAFoldedBar(t *testing.T) {
	const bar, done, end = "|####################| 60%", "finished", "end"
	for name, back := range map[string]string{
		"carriage return":            "\r",
		"and the row erased":         "\r\x1b[2K",
		"and the rest erased":        "\r\x1b[K",
		"and the screen erased":      "\r\x1b[J",
		"erased first":               "\x1b[2K\r",
		"first column":               "\x1b[G",
		"first column, erased":       "\x1b[G\x1b[0K",
		"with a colour":              "\r\x1b[K\x1b[32m",
		"blanks":                     "\r" + strings.Repeat(" ", 10) + "\r",
		"the bar again, and as such": "\r" + bar + "\r\x1b[K",
	} {
		for _, lines := range []string{done + "\x1b[0m\r\n", done + "\x1b[0m\r\n" + strings.Repeat("more\r\n", 30)} {
			got := foldedLines(t, bar, back+lines+end)
			if strings.Count(got, done) != 1 || !strings.Contains("\n"+plainText(got), "\n"+done+"\n") || !strings.HasSuffix(got, end) {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	if got := foldedLines(t, bar, "\r\n"+end); got != bar+"\n"+end {
		t.Errorf("a bar that stays: %q", got)
	}
	for n := 1; n < 80; n++ { // also where the row is full
		whole := strings.Repeat("x", n)
		if got := foldedLines(t, whole, done+"\r\n"+end); got != whole+done+"\n"+end {
			t.Errorf("a line of %d that goes on: %q", n, got)
		}
	}
}

var styles = regexp.MustCompile("\x1b\\[[0-9;]*m")

func plainText(s string) string { return styles.ReplaceAllString(s, "") }

// foldedLines returns the lines of two outputs, between which the terminal gets narrower.
func foldedLines(t *testing.T, before, after string) string {
	t.Helper()
	var got bytes.Buffer
	run := func(c *Collapsers) *Collapser {
		for _, do := range []func() error{
			func() error { return c.Put(wire.TTY, []byte(before)) },
			func() error { c.Resized(wire.Window{Rows: 24, Cols: 20}); return nil },
			func() error { return c.Put(wire.TTY, []byte(after)) },
		} {
			if err := do(); err != nil {
				t.Fatal(err)
			}
		}
		return c.Of(wire.TTY)
	}
	wide := wire.Window{Rows: 24, Cols: 80}
	c := &Collapsers{Window: wide, Exact: true, Emit: func(_ wire.Stream, p []byte) error { got.Write(p); return nil }}
	c.Depths[wire.TTY] = run(&Collapsers{Window: wide}).Depth
	if err := run(c).close(); err != nil {
		t.Fatal(err)
	}
	return got.String()
}
