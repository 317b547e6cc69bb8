//go:build linux

package session

import (
	"fmt"
	"strings"
)

// option is one option of a command.
type option struct {
	name   string
	letter byte // 0: none
	value  bool // it takes a value
}

// given are the options and words of a command line.
type given struct {
	values map[string]string // the last one given; empty for options without value
	words  []string
}

func (g given) has(name string) bool {
	_, ok := g.values[name]
	return ok
}

// commandLine is what options a command line may have.
type commandLine struct {
	options []option
	strict  bool // the first word that is no option ends the options
}

// parse reads args as getopt_long(3) does: --name, --name=value, --name value,
// -n, -nvalue, -n value, several letters after one dash, and -- as the end of
// the options.
func (l commandLine) parse(args []string) (given, error) {
	g := given{values: map[string]string{}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case arg == "--":
			g.words = append(g.words, args...)
			return g, nil
		case strings.HasPrefix(arg, "--"):
			args, err = l.long(g, arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = l.letters(g, arg[1:], args)
		default:
			g.words = append(g.words, arg)
			if l.strict {
				g.words = append(g.words, args...)
				return g, nil
			}
		}
		if err != nil {
			return g, err
		}
	}
	return g, nil
}

// long reads --name and returns what of args is left.
func (l commandLine) long(g given, text string, args []string) ([]string, error) {
	name, value, equals := strings.Cut(text, "=")
	for _, o := range l.options {
		switch {
		case o.name != name:
			continue
		case equals && !o.value:
			return nil, fmt.Errorf("--%s takes no value", name)
		case o.value && !equals && len(args) == 0:
			return nil, fmt.Errorf("--%s needs a value", name)
		case o.value && !equals:
			value, args = args[0], args[1:]
		}
		g.values[name] = value
		return args, nil
	}
	return nil, fmt.Errorf("unknown option --%s", name)
}

// letters reads what follows one dash and returns what of args is left.
func (l commandLine) letters(g given, text string, args []string) ([]string, error) {
	for text != "" {
		o, ok := l.byLetter(text[0])
		rest := text[1:]
		switch {
		case !ok:
			return nil, fmt.Errorf("unknown option -%c", text[0])
		case !o.value:
			g.values[o.name], text = "", rest
			continue
		case rest == "" && len(args) == 0:
			return nil, fmt.Errorf("-%c needs a value", o.letter)
		case rest == "":
			rest, args = args[0], args[1:]
		}
		g.values[o.name] = rest
		return args, nil
	}
	return args, nil
}

func (l commandLine) byLetter(c byte) (option, bool) {
	for _, o := range l.options {
		if o.letter == c {
			return o, true
		}
	}
	return option{}, false
}
