package variables

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"unicode"

	"keyway/internal/lazyregexp"
)

// Parse parses NAME=VALUE lines as Compose does. It takes the values of variables from lookup, then
// from earlier lines, and then from before, which has the values of earlier files. set contains
// those, too. unset holds an error for each variable whose value refers to one without a value and
// a default, and for those beyond the bound of a [Filler].
func Parse(text string, lookup func(string) (string, bool), before map[string]string) (set map[string]string, unset map[string]error, err error) {
	r := reader{rest: strings.TrimPrefix(text, "\ufeff") + "\n", line: 1}
	set, unset = map[string]string{}, map[string]error{}
	maps.Copy(set, before)
	var filler Filler
	for r.next() {
		name, alone, err := r.name()
		if err != nil {
			return nil, nil, err
		}
		if alone {
			if v, ok := lookup(name); ok {
				set[name] = v
				delete(unset, name)
			}
			continue
		}
		form, err := r.value()
		if err != nil {
			return nil, nil, err
		}
		var earlier error // of a variable that the value refers to
		value, err := filler.Fill(form, func(name string) (string, bool) {
			if v, ok := lookup(name); ok {
				return v, true
			}
			earlier = cmp.Or(earlier, unset[name])
			v, ok := set[name]
			return v, ok
		})
		delete(set, name)
		delete(unset, name)
		switch isUnset := (UnsetError{}); {
		case earlier != nil:
			unset[name] = earlier
		case errors.As(err, &isUnset):
			unset[name] = fmt.Errorf("%s: %w (a $ that is one is written $$)", name, err)
		case err != nil:
			unset[name] = fmt.Errorf("%s: %w", name, err)
		default:
			set[name] = value
		}
	}
	return set, unset, nil
}

// reader reads a file of variables in the form of compose-go's dotenv, which FuzzParse compares.
// dotenv itself fills variables in: it replaces one that is not set, and so the rest of a password
// after a $, by an empty text.
type reader struct {
	rest string // ends with a line feed
	line int    // number of the line that rest begins in
}

// skip drops the next n bytes.
func (r *reader) skip(n int) {
	r.line += strings.Count(r.rest[:n], "\n")
	r.rest = r.rest[n:]
}

// next skips blanks, empty lines and comments. It returns false at the end of the file.
func (r *reader) next() bool {
	for {
		r.skip(len(r.rest) - len(strings.TrimLeftFunc(r.rest, unicode.IsSpace)))
		if r.rest == "" || r.rest[0] != '#' {
			return r.rest != ""
		}
		r.skip(strings.IndexByte(r.rest, '\n'))
	}
}

// isBlank reports whether a character is a space within a line.
func isBlank(c rune) bool { return strings.ContainsRune("\t\v\f\r \u0085\u00a0", c) }

// exported matches a word that shells need and that has no meaning here.
var exported = lazyregexp.New(`^export\s+`)

// name reads the name of a variable, up to its value or, if it stands alone, to the end of the line.
func (r *reader) name() (name string, alone bool, err error) {
	if exported.MatchString(r.rest) {
		rest := strings.TrimPrefix(r.rest, "export")
		r.skip(len(r.rest) - len(strings.TrimLeftFunc(rest, isBlank)))
	}
	for i, c := range r.rest {
		switch {
		case isBlank(c) || strings.ContainsRune("_.-[]", c) || unicode.IsLetter(c) || unicode.IsNumber(c):
			continue
		case c != '=' && c != ':' && c != '\n':
			line, _, _ := strings.Cut(r.rest, "\n")
			return "", false, fmt.Errorf("line %d: %q cannot be in the name of a variable: %.80s", r.line, string(c), line)
		}
		name = strings.TrimRightFunc(r.rest[:i], unicode.IsSpace)
		if strings.Contains(name, " ") {
			return "", false, fmt.Errorf("line %d: a space cannot be in the name of a variable: %.80s", r.line, name)
		}
		r.skip(i + 1)
		r.skip(len(r.rest) - len(strings.TrimLeftFunc(r.rest, isBlank)))
		return name, c == '\n', nil
	}
	return "", false, fmt.Errorf("line %d: no name of a variable", r.line) // only export
}

// value reads a value and returns it in the form that a [Filler] takes.
func (r *reader) value() (string, error) {
	if r.rest == "" || r.rest[0] != '"' && r.rest[0] != '\'' {
		line, _, _ := strings.Cut(r.rest, "\n")
		r.skip(min(len(line)+1, len(r.rest)))
		line, _, _ = strings.Cut(line, " #")
		return ownDollars(strings.TrimRightFunc(line, unicode.IsSpace)), nil
	}
	quote := r.rest[0]
	var quoted strings.Builder
	for i := 1; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case c == quote:
			r.skip(i + 1)
			if quote == '\'' {
				return strings.ReplaceAll(quoted.String(), "$", "$$"), nil
			}
			return ownDollars(unescaped(quoted.String())), nil
		case c == '\\': // which is not the last byte
			if i++; r.rest[i] != quote {
				quoted.WriteByte(c)
			}
			quoted.WriteByte(r.rest[i])
		default:
			quoted.WriteByte(c)
		}
	}
	line, _, _ := strings.Cut(r.rest, "\n")
	return "", fmt.Errorf("line %d: the quote does not end: %.80s", r.line, line)
}

// noVariable matches $$, and a $ that begins no variable. Such a $ stands for itself in these
// files.
var noVariable = lazyregexp.New(`\$(?:\$|([^A-Za-z_{]))`)

// ownDollars doubles each $ that stands for itself.
func ownDollars(value string) string { return noVariable.ReplaceAllString(value, "$$$$${1}") }

// escape matches the escape sequences between double quotes.
var escape = lazyregexp.New(`\\(?:[abcfnrtv$"\\]|0\d{0,3})`)

// unescaped replaces escapes as compose-go does: \0123 is an octal number. Other text stays; of
// \012, compose-go drops the 0.
func unescaped(text string) string {
	return string(escape.ReplaceAllFunc([]byte(text), func(found []byte) []byte {
		if string(found) == `\$` {
			return []byte("$$")
		}
		c, _, _, err := strconv.UnquoteChar(strings.Replace(string(found), `\0`, `\`, 1), '"')
		if err != nil {
			return found
		}
		return []byte(string(c))
	}))
}
