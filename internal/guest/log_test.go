//go:build linux

package guest

import (
	"bytes"
	"strings"
	"testing"
)

func TestLogLineCannotBeForged(t *testing.T) {
	var b bytes.Buffer
	(&logger{&b}).warn("refused", "reason", "a\nlevel=INFO msg=login", "n", 3, "empty", "", "esc", "\x1b[2J")
	_, rest, _ := strings.Cut(b.String(), " ")
	want := `level=WARN msg=refused reason="a\nlevel=INFO msg=login" n=3 empty="" esc="\x1b[2J"` + "\n"
	if rest != want {
		t.Fatalf("got %q", rest)
	}
}
