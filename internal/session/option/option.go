package option

import (
	"fmt"
	"strings"
)

// Option is one option of a command.
type Option struct {
	Name   string
	Letter byte // 0: none
	Value  bool // it takes a value
}

// Given holds the options and words of a command line.
type Given struct {
	Values map[string]string // the last value given; empty for an option without value
	Words  []string
}

// Has reports whether the option of that name was given.
func (g Given) Has(name string) bool {
	_, ok := g.Values[name]
	return ok
}

// CommandLine describes the options that a command line may have.
type CommandLine struct {
	Options []Option
	Strict  bool // the first word that is not an option ends the options
}

// Parse reads args as getopt_long(3) does: --name, --name=value, --name value,
// -n, -nvalue, -n value, several letters after one dash, and -- as the end of
// the options.
func (l CommandLine) Parse(args []string) (Given, error) {
	g := Given{Values: map[string]string{}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case arg == "--":
			g.Words = append(g.Words, args...)
			return g, nil
		case strings.HasPrefix(arg, "--"):
			args, err = l.long(g, arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = l.letters(g, arg[1:], args)
		default:
			g.Words = append(g.Words, arg)
			if l.Strict {
				g.Words = append(g.Words, args...)
				return g, nil
			}
		}
		if err != nil {
			return g, err
		}
	}
	return g, nil
}

// long reads --name and returns the remaining args.
func (l CommandLine) long(g Given, text string, args []string) ([]string, error) {
	name, value, equals := strings.Cut(text, "=")
	for _, o := range l.Options {
		switch {
		case o.Name != name:
			continue
		case equals && !o.Value:
			return nil, fmt.Errorf("--%s takes no value", name)
		case o.Value && !equals && len(args) == 0:
			return nil, fmt.Errorf("--%s needs a value", name)
		case o.Value && !equals:
			value, args = args[0], args[1:]
		}
		g.Values[name] = value
		return args, nil
	}
	return nil, fmt.Errorf("unknown option --%s", name)
}

// letters reads the letters after one dash and returns the remaining args.
func (l CommandLine) letters(g Given, text string, args []string) ([]string, error) {
	for text != "" {
		o, ok := l.byLetter(text[0])
		rest := text[1:]
		switch {
		case !ok:
			return nil, fmt.Errorf("unknown option -%c", text[0])
		case !o.Value:
			g.Values[o.Name], text = "", rest
			continue
		case rest == "" && len(args) == 0:
			return nil, fmt.Errorf("-%c needs a value", o.Letter)
		case rest == "":
			rest, args = args[0], args[1:]
		}
		g.Values[o.Name] = rest
		return args, nil
	}
	return args, nil
}

func (l CommandLine) byLetter(c byte) (Option, bool) {
	for _, o := range l.Options {
		if o.Letter == c {
			return o, true
		}
	}
	return Option{}, false
}
