package plain

import (
	"strings"
	"testing"
)

func TestASCII(t *testing.T) {
	for s, want := range map[string]string{
		"gpu1 says: “it’s full” – try again… → df": `gpu1 says: "it's full" - try again... -> df`,
		"plain":       "plain",
		"a\r\nb\tc":   "a b c",
		"größe\x1b[m": "gr??e?[m",
		"\xff\u202ex": "??x",
		"":            "",
	} {
		if got := ASCII(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	for _, s := range nasty {
		if got := ASCII(s); strings.IndexFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
			t.Errorf("%q: %q", s, got)
		}
	}
}
