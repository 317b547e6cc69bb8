// Package variables fills variables into the texts of a Compose file, in Compose's forms. A
// variable without a value and a default is an error, also within a default: Compose takes an
// empty text for it, and a mount of /data/$USER becomes one of /data/.
package variables

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// UnsetError is the error of a variable that has neither a value nor a default.
type UnsetError struct {
	Name  string
	Why   string // in the words of the file's author; empty: none
	Empty bool   // the variable is set, and its value is empty
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

// formError is the error of a $ that begins no variable. It holds the text.
type formError string

func (e formError) Error() string {
	return fmt.Sprintf("a variable in %.80q has no form of Compose's; a $ that is one is written $$", string(e))
}

// maxDepth bounds variables within each other's words: each level looks for its end in the
// whole rest of the text.
const maxDepth = 32

// maxMade bounds the text that a [Filler] makes, in bytes.
const maxMade = 16 << 20

// ErrTooMuch is the error of a [Filler] that would make more text than its bound.
var ErrTooMuch = errors.New("the values of variables make more than 16 MiB of text")

// Filler fills variables into texts. A value that is used often, and its result again, would need
// any amount of memory. So a Filler makes 16 MiB of text at most. The zero value has made none.
type Filler struct {
	made int // bytes
}

// Fill returns text with the values of its variables. It knows $NAME, ${NAME}, ${NAME:-WORD},
// ${NAME-WORD}, and the same with + and ?. WORD may contain variables, which may do so again,
// 32 levels deep. $$ stands for $.
func (f *Filler) Fill(text string, lookup func(string) (string, bool)) (string, error) {
	return f.fill(text, lookup, 0)
}

// fill is Fill of a word that is within depth others.
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

// NameIn returns the name of a variable that text begins with; empty: none.
func NameIn(text string) string {
	for i, r := range text {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return text[:i]
		}
	}
	return text
}

// closing returns the length of the braces at the beginning of text, with what they contain;
// 0: there are none, or they do not end.
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
// within depth others.
func (f *Filler) variable(name, form string, lookup func(string) (string, bool), depth int) (string, error) {
	value, set := lookup(name)
	operator, empty := strings.TrimPrefix(form, ":"), set && value == ""
	there := set && !(empty && operator != form) // with a colon, an empty one is none
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
