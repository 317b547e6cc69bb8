package laptop

import (
	"os/exec"
	"strings"
	"testing"
)

func TestShellQuote(t *testing.T) {
	for _, word := range []string{"", "plain", "two words", "it's", `"$HOME" \ *`, "a\nb", "--x=1", "ü", "'", "''", "`id`"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellQuote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q became %q, %v", word, out, err)
		}
	}
}

func FuzzShellQuote(f *testing.F) {
	f.Add("it's")
	f.Add("$(id)")
	f.Fuzz(func(t *testing.T, word string) {
		quoted := shellQuote(word)
		if rest := strings.ReplaceAll(quoted, `'\''`, ""); quoted != word && (strings.Count(rest, "'") != 2 || !strings.HasPrefix(rest, "'") || !strings.HasSuffix(rest, "'")) {
			t.Errorf("%q is quoted as %s", word, quoted)
		}
	})
}
