package bounded

import (
	"io"
	"strings"
	"testing"
)

// endless is a source of bytes. Like a pipe, it is no io.WriterTo.
type endless struct{ io.Reader }

func TestBufferKeepsTheBeginning(t *testing.T) {
	for _, c := range []struct {
		max    int
		pieces []string
		want   string
		over   bool
	}{
		{0, nil, "", false},
		{0, []string{"a"}, "", true},
		{3, []string{"abc"}, "abc", false},
		{3, []string{"ab", "cd", "e"}, "abc", true},
		{3, []string{"", "abcdefgh"}, "abc", true},
	} {
		b := Buffer{Max: c.max}
		for _, p := range c.pieces {
			if n, err := b.Write([]byte(p)); n != len(p) || err != nil {
				t.Errorf("%v: wrote %d of %q: %v", c, n, p, err)
			}
		}
		if b.String() != c.want || string(b.Bytes()) != c.want || b.Over != c.over {
			t.Errorf("%v: kept %q, over: %v", c, b.String(), b.Over)
		}
	}
}

// TestBufferIsBoundedForCopies checks that io.Copy uses the buffer's Write, and no ReadFrom.
func TestBufferIsBoundedForCopies(t *testing.T) {
	b := Buffer{Max: 10}
	n, err := io.Copy(&b, endless{io.LimitReader(strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20)})
	if n != 1<<20 || err != nil || len(b.Bytes()) != 10 || !b.Over {
		t.Errorf("copied %d, kept %d, over: %v, %v", n, len(b.Bytes()), b.Over, err)
	}
}
