package keyway

import (
	"strconv"
	"strings"
)

// EnvArgv begins the names of the variables by which a laptop tells a guest, over SSH,
// the words of a command of the workspace's keyway: the guest then runs that without a
// shell, whatever the command of the request is. Together their values are the words,
// each ended by the bytes 1 and 2; a byte 1 in a word is 1 and 1.
const EnvArgv = "KEYWAY_ARGV_"

// ArgvCommand begins the command of a request whose words a guest takes from those
// variables. With any other command the variables are leftovers of a client's environment,
// and are not the words of anything.
const ArgvCommand = "keyway "

const (
	// MaxArgv bounds the encoded words in bytes: the most that Linux accepts for a program, and as
	// much again for bytes that are encoded as two.
	MaxArgv = 4 << 20
	// argvPiece is the length of one variable in bytes: less than any system's limit.
	argvPiece = 30_000
)

// EncodeArgv returns words as variables of an environment, which cannot hold NUL bytes.
func EncodeArgv(words []string) []string {
	var all strings.Builder
	for _, w := range words {
		all.WriteString(strings.ReplaceAll(w, "\x01", "\x01\x01"))
		all.WriteString("\x01\x02")
	}
	var env []string
	for text := all.String(); text != ""; {
		n := min(len(text), argvPiece)
		env = append(env, EnvArgv+strconv.Itoa(len(env))+"="+text[:n])
		text = text[n:]
	}
	return env
}

// Argv collects what EncodeArgv has made. The zero value has nothing.
type Argv struct {
	text  strings.Builder
	count int
	wrong bool
}

// Set takes a variable, and reports whether it is one of those.
func (a *Argv) Set(name, value string) bool {
	number, is := strings.CutPrefix(name, EnvArgv)
	if !is {
		return false
	}
	if number != strconv.Itoa(a.count) || a.text.Len()+len(value) > MaxArgv {
		a.wrong = true
		return true
	}
	a.count++
	a.text.WriteString(value)
	return true
}

// Given reports whether there was any such variable.
func (a *Argv) Given() bool { return a.count > 0 || a.wrong }

// Words returns the words, or an error if some are missing.
func (a *Argv) Words() ([]string, error) {
	broken := Errorf(Usage, "the words of the command have not come whole, or are over %d bytes", MaxArgv)
	if a.wrong {
		return nil, broken
	}
	var words []string
	var word strings.Builder
	text := a.text.String()
	for text != "" {
		at := strings.IndexByte(text, 1)
		if at < 0 || at+1 == len(text) {
			return nil, broken
		}
		word.WriteString(text[:at])
		switch text[at+1] {
		case 1:
			word.WriteByte(1)
		case 2:
			words = append(words, word.String())
			word.Reset()
		default:
			return nil, broken
		}
		text = text[at+2:]
	}
	if word.Len() > 0 || len(words) == 0 {
		return nil, broken
	}
	return words, nil
}
