package stream

import (
	"errors"
	"fmt"
)

// Code is the reason for which a server does not open or continue a stream.
type Code byte

// The refusals. All except CodeBusy end the stream at the client.
const (
	CodeBusy     Code = 1 + iota // no room for another stream
	CodeUnknown                  // unknown stream: the server was restarted, or has forgotten it
	CodeExpired                  // the server has given the stream up
	CodeFinished                 // both directions had ended
	CodeReset                    // the server's user has reset it
	CodeFenced                   // another path of this stream is newer
	CodeOffset                   // the offsets of the two ends do not fit together any more
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

// Refusal is a server's refusal of a stream.
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

// Is makes errors.Is(err, ErrExpired) true for every kind of expiry.
func (r *Refusal) Is(target error) bool {
	t, ok := target.(*Refusal)
	return ok && t.Code == r.Code && t.Text == ""
}

// The errors that match refusals with errors.Is.
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

// ResetError means that the other end has reset the stream.
type ResetError struct{ Text string }

func (r *ResetError) Error() string { return "the other end gave up: " + r.Text }

// Is makes a RESET on a live path match ErrReset, as the refusal of a redialling client does.
func (r *ResetError) Is(target error) bool { return target == ErrReset }

var (
	// ErrHostKey means that the answering peer does not hold the host key.
	ErrHostKey = errors.New("the other end does not hold the expected host key: somebody may be in between")
	// ErrStopped is the error of Write when the other end accepts no more bytes.
	ErrStopped = errors.New("the other end takes no more bytes")
	// ErrGaveUp means that the client found no path for as long as it may try.
	ErrGaveUp = errors.New("gave up redialling")
	// ErrMoved is the error of a Conn that was handed over to another process.
	ErrMoved = errors.New("the stream was handed over")
)

// permanent marks an error that another dial cannot cure.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks an error of Config.Dial that ends the stream: for example, a wrong credential
// stays wrong.
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
