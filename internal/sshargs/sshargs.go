// Package sshargs reads command lines of OpenSSH's ssh as ssh itself does. It runs nothing. Begin
// with Parse.
package sshargs

import (
	"fmt"
	"strings"
)

// getopt is the string that ssh gives to getopt(3): each letter is an option, and a colon after it
// means that the option has a value (ssh.c, OpenSSH 10). Earlier versions know fewer of them.
const getopt = "1246ab:c:e:fgi:kl:m:no:p:qstvxAB:CD:E:F:GI:J:KL:MNO:P:Q:R:S:TVw:W:XYy"

// Option is one option of a command line.
type Option struct {
	Letter byte
	Value  string // empty for an option without one
}

// Line is the command line of an ssh, without the program's name.
type Line struct {
	Options []Option
	Host    string   // as written: HOST, USER@HOST or an URL; empty if there is none
	Command []string // words for the host
}

// Parse reads args. As for ssh, options may follow the host, and letters may share a word, of which
// the first option with a value takes the rest or the next word. It fails for an option that ssh
// does not have and for a value that is missing.
func Parse(args []string) (Line, error) {
	var l Line
	rest, ended, err := l.flags(args)
	if err != nil {
		return Line{}, err
	}
	if len(rest) > 0 {
		l.Host, rest = rest[0], rest[1:]
	}
	if !ended {
		if rest, _, err = l.flags(rest); err != nil {
			return Line{}, err
		}
	}
	l.Command = rest
	return l, nil
}

// flags reads the options at the beginning of args, and returns the rest. ended reports whether
// they ended with "--", after which there are no options.
func (l *Line) flags(args []string) (rest []string, ended bool, err error) {
	for len(args) > 0 {
		word := args[0]
		if len(word) < 2 || word[0] != '-' {
			return args, false, nil
		}
		args = args[1:]
		if word == "--" {
			return args, true, nil
		}
		for letters := word[1:]; letters != ""; {
			o := Option{Letter: letters[0]}
			letters = letters[1:]
			valued, ok := hasValue(o.Letter)
			switch {
			case !ok:
				return nil, false, fmt.Errorf("ssh has no option -%c", o.Letter)
			case valued && letters == "" && len(args) == 0:
				return nil, false, fmt.Errorf("the option -%c has no value", o.Letter)
			case valued && letters == "":
				o.Value, args = args[0], args[1:]
			case valued:
				o.Value, letters = letters, ""
			}
			l.Options = append(l.Options, o)
		}
	}
	return args, false, nil
}

// hasValue reports whether the option has a value. ok is false for an option that ssh does not have.
func hasValue(letter byte) (valued, ok bool) {
	i := strings.IndexByte(getopt, letter)
	if i < 0 || letter == ':' {
		return false, false
	}
	return strings.HasPrefix(getopt[i+1:], ":"), true
}

// Has reports whether the line has one of these options.
func (l Line) Has(letters string) bool {
	for _, o := range l.Options {
		if strings.IndexByte(letters, o.Letter) >= 0 {
			return true
		}
	}
	return false
}

// Without returns the line less these options and their values.
func (l Line) Without(letters string) Line {
	var kept []Option
	for _, o := range l.Options {
		if strings.IndexByte(letters, o.Letter) < 0 {
			kept = append(kept, o)
		}
	}
	l.Options = kept
	return l
}

// Args returns the words of a command line that Parse and ssh read as l.
func (l Line) Args() []string {
	var args []string
	for _, o := range l.Options {
		args = append(args, "-"+string(o.Letter))
		if valued, _ := hasValue(o.Letter); valued {
			args = append(args, o.Value)
		}
	}
	if l.Host == "" {
		return args
	}
	return append(append(args, "--", l.Host), l.Command...)
}
