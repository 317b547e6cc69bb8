//go:build linux

package wire

// Sink is a destination of a session's output.
type Sink interface {
	// Put takes bytes of one stream. Its error ends the viewing.
	Put(s Stream, p []byte) error
	// Picture takes bytes that draw all that a terminal shows.
	Picture(p []byte) error
	// Gap reports that n bytes are missing here.
	Gap(n uint64) error
}

// Resizable is a sink that needs the size of the job's terminal.
type Resizable interface {
	// Resized comes before output for a terminal of that size; w is zero if it is not known.
	Resized(w Window)
}

// LogReader is a sink that reads output from the log itself.
type LogReader interface {
	// PutLogged takes Count bytes of the log in dir. Its error ends the viewing.
	PutLogged(dir string, l Logged) error
}

// Discard is a sink for viewers that wait only for the end.
type Discard struct{}

// Put implements Sink.
func (Discard) Put(Stream, []byte) error { return nil }

// Picture implements Sink.
func (Discard) Picture([]byte) error { return nil }

// Gap implements Sink.
func (Discard) Gap(uint64) error { return nil }

// SinkError is an error of the viewer's own output, as opposed to the session's.
type SinkError struct{ Err error }

func (e SinkError) Error() string { return e.Err.Error() }
func (e SinkError) Unwrap() error { return e.Err }
