//go:build linux

package session

import (
	"bytes"
	"strings"
	"testing"
)

func collapsed(t *testing.T, output string, piece int) string {
	t.Helper()
	var got bytes.Buffer
	c := collapser{emit: func(p []byte) error { got.Write(p); return nil }}
	for p := []byte(output); len(p) > 0; p = p[min(piece, len(p)):] {
		if err := c.write(p[:min(piece, len(p))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.close(); err != nil {
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
			if got := collapsed(t, c.output, piece); got != c.want {
				t.Errorf("%s by %d: %q, want %q", name, piece, got, c.want)
			}
		}
	}
	long := strings.Repeat("0123456789", 50_000)
	if got := collapsed(t, long+"\nend", 10_000); got != long+"\nend" {
		t.Errorf("a long line became %d bytes", len(got))
	}
}

// Output that only prints comes as it is, and no output makes it grow much.
func FuzzCollapse(f *testing.F) {
	f.Add([]byte("a\r 10%\r 20%\nb\x1b[31mc\n"), 3)
	f.Add([]byte("\x1b[?1049h\x1b[2J\x1b[10;10H\x1b[999b"), 1)
	f.Fuzz(func(t *testing.T, output []byte, piece int) {
		piece = 1 + piece&0xff
		got := collapsed(t, string(output), piece)
		if bytes.IndexFunc(output, func(r rune) bool { return r < ' ' && r != '\n' }) < 0 && got != string(output) {
			t.Fatalf("%q became %q", output, got)
		}
	})
}
