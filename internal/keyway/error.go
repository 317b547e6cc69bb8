package keyway

import (
	"context"
	"errors"
	"fmt"
)

// Kind is the class of an error, for programs that branch on it. Kinds are part of the API
// between laptop and place and of the exit codes, so existing ones never change.
type Kind string

// The kinds. exitCodes has the exit code of each.
const (
	Other           Kind = "other"            // anything without a kind of its own
	Usage           Kind = "usage"            // the command line or a value in it is wrong
	UnknownPlace    Kind = "unknown-place"    // no such host
	Unreachable     Kind = "unreachable"      // a bastion or place does not answer
	HostKeyChanged  Kind = "host-key-changed" // a host or workspace shows another key than before
	HostKeyUnknown  Kind = "host-key-unknown" // a host's key has never been accepted
	Denied          Kind = "denied"           // the place does not accept the user's key
	NoKey           Kind = "no-key"           // the agent is gone or holds no key
	WrongPassphrase Kind = "wrong-passphrase" // the key was not unlocked
	Untrusted       Kind = "untrusted"        // a place cannot prove its claim, or its answer does not match the request
	EngineAbsent    Kind = "engine-absent"    // the engine is not installed
	EngineDown      Kind = "engine-down"      // the engine is installed but does not run
	EngineForbidden Kind = "engine-forbidden" // the user may not use the engine
	ImageNotFound   Kind = "image-not-found"  // the image is absent and cannot be pulled
	NameTaken       Kind = "name-taken"       // there is a workspace of that name
	NoSpace         Kind = "no-space"         // a file system is full
	NoGPU           Kind = "no-gpu"           // GPUs asked for that the engine cannot give
	NotAllowed      Kind = "not-allowed"      // the place's own templates do not allow it
	NotFound        Kind = "not-found"        // no workspace or session of that name
	NotRunning      Kind = "not-running"      // the workspace or session does not run
	GuestFailed     Kind = "guest-failed"     // the guest inside the workspace did not come up
	VersionMismatch Kind = "version-mismatch" // the other end is of another version
	Drifted         Kind = "drifted"          // an environment is not the one that was pinned
	BadConfig       Kind = "bad-config"       // a configuration file cannot be read, parsed or written
	NeedsAnswer     Kind = "needs-answer"     // a question that no user is there to answer
	Interrupted     Kind = "interrupted"      // Ctrl-C
)

// exitCodes has a number for each kind, which never becomes another's.
var exitCodes = map[Kind]int{
	Other: 1, Usage: 2,
	UnknownPlace: 10, Unreachable: 11, HostKeyChanged: 12, HostKeyUnknown: 13, Denied: 14, NoKey: 15, WrongPassphrase: 16, Untrusted: 17,
	EngineAbsent: 20, EngineDown: 21, EngineForbidden: 22, ImageNotFound: 23, NameTaken: 24, NoSpace: 25, NoGPU: 26, NotAllowed: 27,
	NotFound: 30, NotRunning: 31, GuestFailed: 32, VersionMismatch: 33, Drifted: 34,
	BadConfig: 40, NeedsAnswer: 41, Interrupted: 130,
}

// Error is an error for users: it names the fault in the user's nouns and, if possible, a remedy.
// It travels through the API as JSON, so the laptop shows an error of a node in the same words.
type Error struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`
	// Next is a remedy that is not a command of keyway's, in one or more lines. Advice are
	// further steps, which the face puts into words.
	Next   string   `json:"next,omitempty"`
	Advice []Advice `json:"advice,omitempty"`
	// Host is the place whose words these are: a claim, to be shown as such. It is empty for an
	// error of this laptop's own.
	Host Place `json:"host,omitempty"`
	// At is the place that Advice is about. Only who reaches the place can say it.
	At Place `json:"at,omitempty"`
	// Nearest is a name that is there and may have been meant, such as that of an
	// image.
	Nearest string `json:"nearest,omitempty"`
	cause   error
}

// Errorf makes an Error. %w works as in fmt.Errorf; a *Error does not cross the
// API with its cause.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), cause: errors.Unwrap(err)}
}

// Hint returns e with a next step that is not one of keyway's own commands (for those, see
// Advise).
func (e *Error) Hint(format string, args ...any) *Error {
	with := *e
	with.Next = fmt.Sprintf(format, args...)
	return &with
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.cause }

// Quoted returns err as a part of another sentence: text in a host's words is quoted, with the
// host's name.
func Quoted(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Host == "" {
		return err
	}
	return quoted{e}
}

type quoted struct{ said *Error }

func (q quoted) Error() string { return string(q.said.Host) + " says: “" + q.said.Message + "”" }

func (q quoted) Unwrap() error { return q.said }

// AsError returns err as an *Error: itself if there is one in its chain,
// Interrupted for a cancelled context, else of kind Other. It is nil for nil.
func AsError(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return &Error{Kind: Interrupted, Message: "interrupted", cause: err}
	default:
		return &Error{Kind: Other, Message: err.Error(), cause: err}
	}
}

// Is reports whether err is an Error of that kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}

// ExitCode returns the exit status of a command that ends with err.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if code, ok := exitCodes[AsError(err).Kind]; ok {
		return code
	}
	return 1
}
