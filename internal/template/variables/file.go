package variables

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/compose-spec/compose-go/v2/dotenv"

	"keyway/internal/lazyregexp"
)

// dollar is a variable that replaces each $ in the text that dotenv reads, so that a [Filler]
// does the substitution. dotenv itself would replace a variable that is not set by an empty text,
// and also the rest of a password after a $.
const (
	dollar = "keyway_dollar"
	braced = "${" + dollar + "}"
)

// noVariable matches $$, and a $ that begins no variable. Such a $ stands for itself in these
// files.
var noVariable = lazyregexp.New(`\$(?:\$|([^A-Za-z_{]))`)

// Parse parses NAME=VALUE lines as Compose does. It takes the values of variables from lookup,
// and then from earlier lines. unset holds an error for each variable whose value refers to one
// without a value and a default, and for those beyond the bound of a [Filler].
func Parse(text string, lookup func(string) (string, bool)) (set map[string]string, unset map[string]error, err error) {
	text = strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "$", braced) + "\n"
	raw := func(name string) (string, bool) {
		if name == dollar {
			return "$", true
		}
		v, ok := lookup(name) // of a line that has only a name
		return strings.ReplaceAll(v, "$", "$$"), ok
	}
	if _, err := dotenv.UnmarshalWithLookup(text, raw); err != nil { // with the right line
		return nil, nil, errors.New(strings.ReplaceAll(err.Error(), braced, "$"))
	}
	var filler Filler
	set, unset = map[string]string{}, map[string]error{}
	for text != "" {
		end := statement(text)
		one, err := dotenv.UnmarshalWithLookup(text[:end], raw)
		if err != nil {
			return nil, nil, err
		}
		text = text[end:]
		for name, value := range one {
			value = strings.ReplaceAll(value, braced, "$$") // quoted
			value = noVariable.ReplaceAllString(value, "$$$$${1}")
			var before error // of a variable that this one refers to
			value, err := filler.Fill(value, func(name string) (string, bool) {
				if v, ok := lookup(name); ok {
					return v, true
				}
				before = cmp.Or(before, unset[name])
				v, ok := set[name]
				return v, ok
			})
			delete(set, name)
			delete(unset, name)
			switch isUnset := (UnsetError{}); {
			case before != nil:
				unset[name] = before
			case errors.As(err, &isUnset):
				unset[name] = fmt.Errorf("%s: %w (a $ that is one is written $$)", name, err)
			case err != nil:
				unset[name] = fmt.Errorf("%s: %w", name, err)
			default:
				set[name] = value
			}
		}
	}
	return set, unset, nil
}

// statement returns the length of the first statement of text: one line, or several that are one
// value, as dotenv divides them. text must end with a line feed.
func statement(text string) int {
	start := strings.TrimLeftFunc(text, unicode.IsSpace)
	if start == "" {
		return len(text)
	}
	sign := strings.IndexAny(start, "=:\n")
	value := strings.TrimLeft(start[sign+1:], " \t\v\f\r\u0085\u00a0")
	if start[0] == '#' || start[sign] == '\n' || value == "" || value[0] != '"' && value[0] != '\'' {
		return len(text) - len(start) + strings.IndexByte(start, '\n') + 1
	}
	for i := 1; i < len(value); i++ {
		switch value[i] {
		case '\\':
			i++
		case value[0]:
			return len(text) - len(value) + i + 1
		}
	}
	return len(text)
}
