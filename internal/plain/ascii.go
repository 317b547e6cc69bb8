package plain

import "strings"

// spelled are characters of keyway's sentences, each before its form in ASCII.
var spelled = [...]string{"“", `"`, "”", `"`, "‘", "'", "’", "'", "–", "-", "—", "-", "…", "...", "→", "->", "×", "x"}

// ASCII returns s as a part of one line in ASCII. OpenSSH prints the text of a disconnection or of
// a refused channel with every other byte in octal, whatever the terminal's locale is. A letter
// without a counterpart in ASCII becomes a Mark.
func ASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= ' ' && r <= '~' {
			return r
		}
		return Mark
	}, strings.NewReplacer(spelled[:]...).Replace(Line(s)))
}
