package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Assuan is the protocol of GnuPG's programs ("Developing with Assuan"): lines of
// at most 1000 bytes. This package uses commands with one line as their
// argument. The answer is OK or ERR after any number of comments and status lines.
const (
	maxAssuanLine   = 1000
	maxAssuanStatus = 100 // lines before an answer
)

// Codes of libgpg-error, which has the source of an error in the bits above.
const (
	gpgTimeout      = 62
	gpgCanceled     = 99
	gpgNotConfirmed = 114
	gpgCode         = 0xffff
)

// assuanError is an ERR answer.
type assuanError struct {
	code int
	text string
}

func (e *assuanError) Error() string { return fmt.Sprintf("error %d: %.200q", e.code, e.text) }

// assuan is a connection to a program that speaks Assuan.
type assuan struct {
	in     io.Writer
	out    *bufio.Reader
	status []string // that came with the last answer
}

// command sends a command with its argument and reads the answer. An argument
// that is too long is cut: it is for people.
func (a *assuan) command(name, argument string) error {
	line := name
	if argument != "" {
		line += " " + assuanEscape(argument, maxAssuanLine-len(name)-1)
	}
	if _, err := io.WriteString(a.in, line+"\n"); err != nil {
		return err
	}
	return a.answer()
}

// answer reads up to OK or ERR.
func (a *assuan) answer() error {
	a.status = nil
	for range maxAssuanStatus {
		line, err := a.line()
		if err != nil {
			return err
		}
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "OK":
			return nil
		case "ERR":
			number, text, _ := strings.Cut(rest, " ")
			code, err := strconv.ParseUint(number, 10, 32)
			if err != nil {
				return errors.New("an error without a number")
			}
			return &assuanError{int(code & gpgCode), text}
		case "S":
			a.status = append(a.status, rest)
		case "#", "D":
		default:
			if !strings.HasPrefix(word, "#") {
				return errors.New("not an answer of the Assuan protocol")
			}
		}
	}
	return errors.New("it does not come to an answer")
}

func (a *assuan) line() (string, error) {
	line, err := a.out.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(line) > maxAssuanLine+1 {
		return "", errors.New("a line that is too long")
	}
	return strings.TrimSuffix(string(line), "\n"), err
}

// assuanEscape returns s on one line of at most limit bytes.
func assuanEscape(s string, limit int) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		escaped := string([]byte{c})
		if c == '%' || c < ' ' {
			escaped = fmt.Sprintf("%%%02X", c)
		}
		if b.Len()+len(escaped) > limit {
			break
		}
		b.WriteString(escaped)
	}
	return strings.ToValidUTF8(b.String(), "")
}
