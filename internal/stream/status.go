package stream

import "time"

// State is what a stream is doing.
type State int

const (
	// Redialling means that there is no path. A stream begins so.
	Redialling State = iota
	// Up means that there is a path, and nothing says that it does not work.
	Up
	// Stalled means that there is a path, but no answer; a client dials a second one.
	Stalled
	// Ended means that it is over for good.
	Ended
)

func (s State) String() string {
	return [...]string{"redialling", "up", "stalled", "ended"}[s]
}

// Status is what a user may want to know of a stream.
type Status struct {
	State State
	// Since is when the stream came into State. From Stalled to Redialling it
	// stays: it is the time of which one says "stalled 42 s".
	Since   time.Time
	Up      uint64 // bytes that the local user has written
	Down    uint64 // bytes that the local user has read
	Unacked uint64 // bytes that the other user has not taken yet
	Stalls  int    // how often the stream was without a working path
	Resumes int
	Opened  bool   // the other end has answered once
	Why     string // why it is not Up
}

// Status returns what the stream is doing.
func (c *Conn) Status() Status {
	c.mu.Lock()
	defer c.unlock()
	return Status{
		State:   c.state,
		Since:   c.since,
		Up:      c.tx.written(),
		Down:    c.rx.taken(),
		Unacked: c.tx.unacked(),
		Stalls:  c.stalls,
		Resumes: c.resumes,
		Opened:  c.keys != nil,
		Why:     c.why,
	}
}

// Changed receives a value after State or Why has changed. Changes that nobody
// received become one.
func (c *Conn) Changed() <-chan struct{} { return c.changed }

// setState is the only place that moves the state.
func (c *Conn) setState(s State, since time.Time, why string) {
	if c.state == Ended || c.state == s && c.why == why {
		return
	}
	wasBad := c.state != Up
	if c.state == Up && s != Ended {
		c.stalls++
	}
	if s == Up || s == Ended || !wasBad {
		c.since = since
	}
	c.state, c.why = s, why
	signal(c.changed)
	signal(c.writable) // a ring without a path takes more
}

// signal leaves a value in a channel that holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
