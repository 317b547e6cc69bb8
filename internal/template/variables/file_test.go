package variables

import (
	"maps"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

// FuzzStatement: a file is divided as dotenv does it.
func FuzzStatement(f *testing.F) {
	f.Add("A=1 # '\n#\nexport B='a\n\\'b' # c\nC: \"\"D=\nE\n")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ReplaceAll(text, "$", "") + "\n"
		want, err := dotenv.UnmarshalWithLookup(text, func(string) (string, bool) { return "", false })
		got, unset, ours := Parse(text, func(string) (string, bool) { return "", false })
		if (err == nil) != (ours == nil) || err == nil && len(unset) == 0 && !maps.Equal(got, want) {
			t.Errorf("%q: %q, %v, %v; want %q, %v", text, got, unset, ours, want, err)
		}
	})
}
