//go:build linux

package session

// sink is where a session's output goes.
type sink interface {
	// put takes bytes of one stream. Its error ends the viewing.
	put(s stream, p []byte) error
	// picture takes bytes that draw all that a terminal shows.
	picture(p []byte) error
	// gap tells that n bytes are missing here.
	gap(n uint64) error
}

// resizable is a sink for which it matters how large the job's terminal was.
type resizable interface {
	// resized comes before what was printed for a terminal of that size; without rows
	// it is not known.
	resized(w window)
}

// discard is the sink of those who wait only for the end.
type discard struct{}

func (discard) put(stream, []byte) error { return nil }

func (discard) picture([]byte) error { return nil }

func (discard) gap(uint64) error { return nil }

// sinkError is an error of the viewer's own output, as opposed to the session's.
type sinkError struct{ err error }

func (e sinkError) Error() string { return e.err.Error() }
func (e sinkError) Unwrap() error { return e.err }
