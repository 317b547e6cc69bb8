package keyway

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestUnmarker checks that marks are removed wherever the output is divided into writes, and that
// the bytes after the last mark are held back.
func TestUnmarker(t *testing.T) {
	first, second := string(Mark("word", "1;5;0")), string(Mark("word", "2;5;3"))
	for _, c := range []struct{ in, want, request string }{
		{"an older guest\x1b]0;title\a\x1b", "an older guest\x1b]0;title\a", "=word"},
		{"noise" + first + "held", "noise", "=word 1;5;0 1;5;0"},
		{first + "kept" + second + "held" + second[:9], "kept", "=word 1;5;0 2;5;3"},
		{first + "a\x1b]" + second, "a\x1b]", "=word 1;5;0 2;5;3"},
		{string(Mark("word", "1;$(id)")) + "a", "a", "=word"},
		{first + strings.Repeat("a", maxUnmarked+1), strings.Repeat("a", maxUnmarked+1), "=word 1;5;0 1;5;0"},
	} {
		for _, piece := range []int{1, 2, 7, len(c.in)} {
			if len(c.in) > 1000 && piece < len(c.in) {
				continue
			}
			var got bytes.Buffer
			u := &Unmarker{To: &got, Word: "word"}
			for rest := []byte(c.in); len(rest) > 0; rest = rest[min(piece, len(rest)):] {
				if _, err := u.Write(rest[:min(piece, len(rest))]); err != nil {
					t.Fatal(err)
				}
			}
			if got.String() != c.want || RequestMarks(u, u) != EnvMarks+c.request {
				t.Errorf("%.80q in pieces of %d: %.80q, want %.80q; %s", c.in, piece, &got, c.want, RequestMarks(u, u))
			}
		}
	}
}

// TestUnmarkerAtTheEnd checks that the bytes held back are written at the end of a log, and dropped
// after a break.
func TestUnmarkerAtTheEnd(t *testing.T) {
	for _, broken := range []bool{false, true} {
		var got bytes.Buffer
		u := &Unmarker{To: &got, Word: "word"}
		_, err := u.Write(append(Mark("word", "1;5"), "end\x1b"...))
		if broken {
			u.Drop()
		}
		if err != nil || u.Flush() != nil || got.String() != map[bool]string{false: "end\x1b", true: ""}[broken] {
			t.Errorf("broken %t: %v, %q", broken, err, &got)
		}
	}
}

// TestUnmarkerThatCannotWrite checks that nothing is written after an error, which Flush returns.
func TestUnmarkerThatCannotWrite(t *testing.T) {
	to := &failing{errors.New("full"), 0}
	u := &Unmarker{To: to, Word: "word"}
	_, err := u.Write([]byte("one"))
	if again := u.Flush(); err != to.error || again != to.error || to.writes != 1 {
		t.Errorf("%v, %v after %d writes", err, again, to.writes)
	}
}

// failing is a writer that counts its failures.
type failing struct {
	error
	writes int
}

func (f *failing) Write([]byte) (int, error) { f.writes++; return 0, f.error }
