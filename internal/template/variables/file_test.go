package variables

import (
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

var octal = regexp.MustCompile(`\\0[0-3][0-7]{2}`)

// FuzzParse checks that a file in which each variable has a value is read as compose-go's dotenv
// reads it.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"A=1 # '\n#\nexport B='a\n\\'b' # c\nC: \"\"D=\nE\n", "A=\"\\a\\n\\0101\\\\\\$B\"\nB='$A\\n'\nC=$A$$-${B:-x}", "\ufeffA = 1\r\nA B=1",
		"export\nA=\n=1", "A=\"\\0044B\"", "A=\"x\\", "[A]-.: \u00a0'x'y", "A\u2003=1", "export", "A=$B\nexport  B\n", "A='x'\n'B'=1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(octal.ReplaceAllString(text, ""), `\0`) {
			return // dotenv drops a digit of an invalid octal number
		}
		all := func(name string) (string, bool) { return "<" + name + ">", true }
		want, err := dotenv.UnmarshalWithLookup(strings.TrimPrefix(text, "\ufeff")+"\n", all)
		if err != nil && strings.Contains(text, "$") {
			return // a $ that begins no variable stands for itself here
		}
		got, unset, ours := Parse(text, all, nil)
		if (err == nil) != (ours == nil) || err == nil && len(unset) == 0 && !maps.Equal(got, want) {
			t.Errorf("%q: %q, %v, %v; want %q, %v", text, got, unset, ours, want, err)
		}
	})
}

// TestParse checks the differences from dotenv, and the order in which values are looked up.
func TestParse(t *testing.T) {
	given := func(name string) (string, bool) {
		v, ok := map[string]string{"HERE": "h", "A": "a"}[name]
		return v, ok
	}
	for text, want := range map[string]string{
		`X="\044\012\0\0999\c\q"`:  `\044\012\0\0999\c\q`, // no escapes
		`X="\0101\0344\x41\u0041"`: "A\u00e4" + `\x41\u0041`,
		`X="\0044HERE"`:            "h", // as $HERE
		`X="\0044{HERE}\0044"`:     "h$",
		`X="\$HERE\\$HERE"`:        `$HERE\h`,
		`X='\0044HERE'`:            `\0044HERE`,
		`X=\0044HERE`:              `\0044HERE`,
		"A=own\nX=$A":              "a", // the laptop's comes first
		"B=own\nX=$B":              "own",
		"X=$B":                     "before",
		"X=$C":                     "",
		"HERE\nX=$HERE":            "h",
		"X=1\nX":                   "1", // no value here, and the line before stays
		"X=a$1-$'$":                "a$1-$'$",
	} {
		got, unset, err := Parse(text, given, map[string]string{"B": "before"})
		if err != nil || got["X"] != want || (unset["X"] != nil) != (want == "") {
			t.Errorf("%s: %q, %v, %v", text, got["X"], unset, err)
		}
	}
	for text, says := range map[string]string{
		"A=1\n\nB C=1":         "line 3: a space",
		"A=1\nB%=1":            `line 2: "%" cannot be`,
		"A='a\nb'\nB=\"x\ny":   "line 3: the quote does not end",
		"A=1\nB=\"$NONE x\\\"": "line 2: the quote does not end",
	} {
		if _, _, err := Parse(text, given, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %s", text, err, says)
		}
	}
}
