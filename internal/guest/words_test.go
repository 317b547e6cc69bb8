//go:build linux

package guest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestSplitWords(t *testing.T) {
	for line, want := range map[string][]string{
		`a b  c`:             {"a", "b", "c"},
		` 'a b'"c d" e\ f `:  {"a bc d", "e f"},
		`"a\"b\\c\d" '\'`:    {`a"b\c\d`, `\`},
		`'' ""`:              {"", ""},
		`~ ~/x a~ '~' \~ ~b`: {"/home", "/home/x", "a~", "~", "~", "~b"},
		`a#b {x,y} FOO=1`:    {"a#b", "{x,y}", "FOO=1"},
		"'|&;<>()$`*?['":     {"|&;<>()$`*?["},
		"a\\\nb":             {"ab"},
	} {
		got, err := splitWords(line, "/home")
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", line, got, err, want)
		}
	}
	for _, line := range []string{
		"", "  ", "a | b", "a & b", "a; b", "a < b", "a > b", "(a)", "a $b", "a `b`", "a *", "a ?", "a [b]", "# a", "a\nb",
		`a "$b"`, "a \"`b`\"", `a 'b`, `a "b`, `a \`, "a \x00", "'\x00'", "\"\x00\"",
		strings.Repeat("a ", maxWords+2), strings.Repeat("a", maxCommandLine+1),
	} {
		if got, err := splitWords(line, "/home"); err == nil {
			t.Errorf("%.20q: got %.3q", line, got)
		}
	}
}

// FuzzSplitWords checks that words are split as a shell splits them.
func FuzzSplitWords(f *testing.F) {
	for _, s := range []string{`a 'b c' "d\"e" f\ g`, "a\\\nb", `"\q"`, `a#b`, `''`, "~/x", "\xff '\xfe'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitWords(line, "/home")
		if err != nil {
			return
		}
		// An echo of the arguments distinguishes words from the shell's own grammar.
		if strings.ContainsAny(line, "{}!=~") || len(line) > 1000 {
			return
		}
		out, err := exec.Command("/bin/dash", "-c", `printf '%s\0' `+line).Output()
		if err != nil {
			t.Skip("not for a shell")
		}
		if want := strings.Join(words, "\x00") + "\x00"; string(out) != want {
			t.Fatalf("%q: got %q, the shell %q", line, want, out)
		}
	})
}
