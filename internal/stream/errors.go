package stream

import (
	"errors"
	"fmt"
)

// Code says why a server does not open or continue a stream.
type Code byte

// The refusals. All but CodeBusy end the stream at the client.
const (
	CodeBusy     Code = 1 + iota // no room for another stream
	CodeUnknown                  // no such stream: the server was restarted, or has forgotten it
	CodeExpired                  // the server gave the stream up
	CodeFinished                 // both directions had come to their ends
	CodeReset                    // the server's user gave up
	CodeFenced                   // another path of this stream is newer
	CodeOffset                   // the two ends do not fit together any more
	CodeProof                    // the client does not know the stream's secret
)

var codeWords = map[Code]string{
	CodeBusy:     "busy",
	CodeUnknown:  "unknown stream",
	CodeExpired:  "expired",
	CodeFinished: "finished",
	CodeReset:    "reset",
	CodeFenced:   "fenced",
	CodeOffset:   "offset outside of the window",
	CodeProof:    "wrong proof",
}

func (c Code) String() string {
	if words, ok := codeWords[c]; ok {
		return words
	}
	return fmt.Sprintf("code %d", byte(c))
}

// Refusal is a server's answer instead of a stream.
type Refusal struct {
	Code Code
	Text string // the server's reason
}

func (r *Refusal) Error() string {
	if r.Text == "" {
		return r.Code.String()
	}
	return r.Code.String() + ": " + r.Text
}

// Is makes errors.Is(err, ErrExpired) true for every reason of an expiry.
func (r *Refusal) Is(target error) bool {
	t, ok := target.(*Refusal)
	return ok && t.Code == r.Code && t.Text == ""
}

// One for each refusal, for errors.Is.
var (
	ErrBusy     error = &Refusal{Code: CodeBusy}
	ErrUnknown  error = &Refusal{Code: CodeUnknown}
	ErrExpired  error = &Refusal{Code: CodeExpired}
	ErrFinished error = &Refusal{Code: CodeFinished}
	ErrReset    error = &Refusal{Code: CodeReset}
	ErrFenced   error = &Refusal{Code: CodeFenced}
	ErrOffset   error = &Refusal{Code: CodeOffset}
	ErrProof    error = &Refusal{Code: CodeProof}
)

// ResetError says that the other end gave the stream up.
type ResetError struct{ Text string }

func (r *ResetError) Error() string { return "the other end gave up: " + r.Text }

// Is makes a reset on a live path and one that a redialling client is told of
// the same error.
func (r *ResetError) Is(target error) bool { return target == ErrReset }

var (
	// ErrHostKey says that whoever answered does not hold the host key.
	ErrHostKey = errors.New("the other end does not hold the expected host key: somebody may be in between")
	// ErrStopped is returned by Write when the other end takes no more bytes.
	ErrStopped = errors.New("the other end takes no more bytes")
	// ErrGaveUp says that no path was found for as long as the client may try.
	ErrGaveUp = errors.New("gave up redialling")
	// ErrMoved is returned by a Conn that was handed over to another process.
	ErrMoved = errors.New("the stream was handed over")
)

// permanent marks an error that dialling again cannot cure.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks an error of Config.Dial that ends the stream: a wrong
// credential does not become right by trying again.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent reports whether err ends a stream that dials.
func IsPermanent(err error) bool {
	var marked permanent
	if errors.As(err, &marked) || errors.Is(err, ErrHostKey) {
		return true
	}
	var refusal *Refusal
	return errors.As(err, &refusal) && refusal.Code != CodeBusy
}
