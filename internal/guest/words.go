//go:build linux

package guest

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds on a command that is split without a shell.
const (
	maxWords       = 4096
	maxCommandLine = 128 << 10
)

// wordSplitter splits a command line as a shell splits one that uses nothing but quotes
// (POSIX.1-2024, Shell Command Language, 2.2 and 2.3), for images that have no shell. It
// refuses a line with any other shell syntax; it never takes such syntax for ordinary
// characters.
type wordSplitter struct {
	home  string // the value of an unquoted ~ at the beginning of a word
	words []string
	word  strings.Builder
	begun bool // word holds a word, perhaps an empty one
}

// splitWords splits line.
func splitWords(line, home string) ([]string, error) {
	if len(line) > maxCommandLine {
		return nil, fmt.Errorf("the command is longer than %d bytes", maxCommandLine)
	}
	s := wordSplitter{home: home}
	for i := 0; i < len(line); {
		n, err := s.step(line[i:])
		if err != nil {
			return nil, err
		}
		i += n
		if len(s.words) > maxWords {
			return nil, fmt.Errorf("the command has more than %d words", maxWords)
		}
	}
	s.end()
	if len(s.words) == 0 {
		return nil, errors.New("the command is empty")
	}
	return s.words, nil
}

// step consumes one character or quotation at the beginning of rest.
func (s *wordSplitter) step(rest string) (int, error) {
	switch c := rest[0]; c {
	case ' ', '\t':
		s.end()
		return 1, nil
	case '\'':
		return s.single(rest)
	case '"':
		return s.double(rest)
	case '\\':
		return s.escape(rest)
	case '~':
		return s.tilde(rest), nil
	case 0:
		return 0, errors.New("the command holds a NUL byte")
	case '|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '[', '\n':
		return 0, needsShell(c)
	case '#':
		if !s.begun {
			return 0, needsShell(c)
		}
		fallthrough
	default:
		s.add(rest[:1])
		return 1, nil
	}
}

func needsShell(c byte) error {
	return fmt.Errorf("%q in a command needs a shell, and this image has none; quote it if it is meant as it stands", c)
}

func (s *wordSplitter) add(text string) {
	s.word.WriteString(text)
	s.begun = true
}

func (s *wordSplitter) end() {
	if s.begun {
		s.words = append(s.words, s.word.String())
		s.word.Reset()
		s.begun = false
	}
}

func (s *wordSplitter) single(rest string) (int, error) {
	end := strings.IndexByte(rest[1:], '\'')
	if end < 0 {
		return 0, errors.New("the command has a ' without its partner")
	}
	text := rest[1 : 1+end]
	if strings.ContainsRune(text, 0) {
		return 0, errors.New("the command holds a NUL byte")
	}
	s.add(text)
	return end + 2, nil
}

func (s *wordSplitter) double(rest string) (int, error) {
	s.begun = true
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; c {
		case '"':
			return i + 1, nil
		case '$', '`':
			return 0, needsShell(c)
		case 0:
			return 0, errors.New("the command holds a NUL byte")
		case '\\':
			if i+1 < len(rest) && strings.IndexByte("$`\"\\\n", rest[i+1]) >= 0 {
				i++
				if rest[i] != '\n' { // an escaped end of line joins the lines
					s.add(rest[i : i+1])
				}
				continue
			}
			s.add(`\`)
		default:
			s.add(rest[i : i+1])
		}
	}
	return 0, errors.New("the command has a \" without its partner")
}

func (s *wordSplitter) escape(rest string) (int, error) {
	if len(rest) < 2 || rest[1] == 0 {
		return 0, errors.New("the command ends in a backslash")
	}
	if rest[1] != '\n' {
		s.add(rest[1:2])
	}
	return 2, nil
}

// tilde expands ~ and ~/… at the beginning of a word; scp sends such paths.
func (s *wordSplitter) tilde(rest string) int {
	if !s.begun && (len(rest) == 1 || strings.IndexByte("/ \t", rest[1]) >= 0) {
		s.add(s.home)
	} else {
		s.add("~")
	}
	return 1
}
