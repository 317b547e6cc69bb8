// Package variables fills variables into the texts of a Compose file, in Compose's forms. A
// variable without a value and a default is an error, even inside another's default. Compose
// takes an empty text for it instead, which turns a mount of /data/$USER into one of /data/.
package variables

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// UnsetError is the error for a variable that has neither a value nor a default.
type UnsetError struct {
	Name  string
	Why   string // in the words of the file's author; may be empty
	Empty bool   // the variable is set to an empty value
}

func (e UnsetError) Error() string {
	is := " is not set"
	if e.Empty {
		is = " is empty"
	}
	if e.Why != "" {
		is += ": " + e.Why
	}
	return "the variable " + e.Name + is
}

// formError is the error for a $ that begins no variable. It holds the text.
type formError string

func (e formError) Error() string {
	return fmt.Sprintf("a variable in %.80q has no form of Compose's; a $ that is one is written $$", string(e))
}

// maxDepth bounds the nesting of variables: each level searches the whole rest of the text for
// its end.
const maxDepth = 32

// maxMade bounds the text that a [Filler] makes, in bytes.
const maxMade = 16 << 20

// ErrTooMuch is the error of a [Filler] whose result would exceed its bound.
var ErrTooMuch = errors.New("the values of variables make more than 16 MiB of text")

// Filler fills variables into texts, of 16 MiB at most in all. Without that bound, a value that
// is used often, and again in others, would need any amount of memory. The zero value is ready to
// use.
type Filler struct {
	made int // bytes
}

// Fill returns text with the values of its variables. It understands $NAME, ${NAME},
// ${NAME:-WORD}, ${NAME-WORD}, and the same with + and ?. WORD may contain variables, nested up
// to 32 levels deep. $$ stands for $.
func (f *Filler) Fill(text string, lookup func(string) (string, bool)) (string, error) {
	return f.fill(text, lookup, 0)
}

// fill is Fill for a word that is nested in depth others.
func (f *Filler) fill(text string, lookup func(string) (string, bool), depth int) (string, error) {
	if depth > maxDepth {
		return "", fmt.Errorf("more than %d variables are within each other", maxDepth)
	}
	whole := text
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		if f.made += len(before); f.made > maxMade {
			return "", ErrTooMuch
		}
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		value, end := "$", 0
		var err error
		switch name := NameIn(rest); {
		case rest == "":
		case rest[0] == '$':
			end = 1
		case name != "":
			end = len(name)
			value, err = f.variable(name, "", lookup, depth)
		default:
			if end = closing(rest); end > 0 {
				name = NameIn(rest[1:])
				value, err = f.variable(name, rest[1+len(name):end-1], lookup, depth)
			}
			if name == "" {
				err = formError(whole)
			}
		}
		if err != nil {
			return "", err
		}
		f.made += len(value)
		b.WriteString(value)
		text = rest[end:]
	}
}

// NameIn returns the name of the variable with which text begins, or "".
func NameIn(text string) string {
	for i, r := range text {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return text[:i]
		}
	}
	return text
}

// closing returns the length of the braces at the beginning of text, with their content. It
// returns 0 if text does not begin with a brace, or the braces do not end.
func closing(text string) int {
	open := 0
	for i := range len(text) {
		if i == 0 && text[i] != '{' {
			return 0
		}
		switch text[i] {
		case '{':
			open++
		case '}':
			open--
		}
		if open == 0 {
			return i + 1
		}
	}
	return 0
}

// variable returns the value of ${NAME}. form is what follows the name in the braces, which are
// nested in depth others.
func (f *Filler) variable(name, form string, lookup func(string) (string, bool), depth int) (string, error) {
	value, set := lookup(name)
	operator, empty := strings.TrimPrefix(form, ":"), set && value == ""
	there := set && !(empty && operator != form) // with a colon, an empty value counts as none
	if form == "" {
		if !set {
			return "", UnsetError{Name: name}
		}
		return value, nil
	}
	if operator == "" {
		return "", formError("${" + name + form + "}")
	}
	word := operator[1:]
	switch operator[0] {
	case '-':
		if there {
			return value, nil
		}
		return f.fill(word, lookup, depth+1)
	case '+':
		if !there {
			return "", nil
		}
		return f.fill(word, lookup, depth+1)
	case '?':
		if there {
			return value, nil
		}
		why, err := f.fill(word, lookup, depth+1)
		return "", cmp.Or(err, error(UnsetError{name, why, empty}))
	}
	return "", formError("${" + name + form + "}")
}
