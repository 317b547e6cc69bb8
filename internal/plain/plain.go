// Package plain makes text that another party may have chosen safe to show. Such a text on a
// terminal moves no cursor, changes no colour, hides nothing and does not reverse the text beside
// it. Begin with Line and Text, and with Fprintf, which applies Line to its arguments.
package plain

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Mark stands where something was that is not shown.
const Mark = '?'

// Line returns s as a part of one line. Each line break, tab and other character that a terminal
// obeys or does not show becomes a Mark, and so does each byte that is not UTF-8. Line breaks and
// white space at both ends are dropped.
func Line(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return ' '
		}
		return visible(r)
	}, valid(strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n"))))
}

// Text returns s as lines: line breaks stay, and a tab becomes a space.
func Text(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '\n':
			return r
		case '\t':
			return ' '
		}
		return visible(r)
	}, valid(strings.ReplaceAll(s, "\r\n", "\n")))
}

// valid returns s with a Mark in place of each byte that is not UTF-8.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s { // a byte that is no UTF-8 comes as utf8.RuneError of its own
		if r == utf8.RuneError {
			r = Mark
		}
		b.WriteRune(r)
	}
	return b.String()
}

func visible(r rune) rune {
	if Hidden(r) {
		return Mark
	}
	return r
}

// hidden are the characters that are obeyed or not shown, beside C0, in order: DEL and C1
// (ECMA-48), soft hyphen, the controls of bidirectional text (UAX #9, section 2), separators of
// lines and paragraphs, characters without a width, variation selectors, all others of format
// (Unicode's category Cf), interlinear annotation, noncharacters, and tags.
var hidden = [...][2]rune{
	{0x7f, 0x9f}, {0xad, 0xad}, {0x034f, 0x034f}, {0x0600, 0x0605}, {0x061c, 0x061c}, {0x06dd, 0x06dd}, {0x070f, 0x070f},
	{0x0890, 0x0891}, {0x08e2, 0x08e2}, {0x115f, 0x1160}, {0x17b4, 0x17b5}, {0x180b, 0x180f},
	{0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0x3164, 0x3164}, {0xd800, 0xdfff},
	{0xfdd0, 0xfdef}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3},
	{0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
}

// Hidden reports whether a terminal obeys r or does not show it. Line breaks and
// tabs are among these.
func Hidden(r rune) bool {
	if r < ' ' || r&0xfffe == 0xfffe { // C0, and no character: the last two of each plane
		return true
	}
	for _, span := range hidden {
		if r <= span[1] {
			return r >= span[0]
		}
	}
	return false
}

// Sprintf is fmt.Sprintf with Line applied to every text among args: the format is keyway's own,
// the values need not be.
func Sprintf(format string, args ...any) string { return fmt.Sprintf(format, Args(args)...) }

// Fprintf is fmt.Fprintf with Line applied to every text among args.
func Fprintf(w io.Writer, format string, args ...any) (int, error) {
	return fmt.Fprintf(w, format, Args(args)...)
}

// Args returns args with Line applied to every text.
func Args(args []any) []any {
	clean := make([]any, len(args))
	for i, a := range args {
		clean[i] = value(a)
	}
	return clean
}

func value(a any) any {
	switch v := a.(type) {
	case nil:
		return nil
	case error:
		return Line(v.Error())
	case fmt.Stringer:
		return Line(v.String())
	}
	if v := reflect.ValueOf(a); v.Kind() == reflect.String {
		return Line(v.String())
	}
	return a
}

// Shell returns word quoted, if it needs to be, as one word of a command for the user's shell
// (POSIX, also fish).
func Shell(word string) string {
	word = Line(word)
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+=,", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
