package stream

import (
	"sync/atomic"
	"time"
)

// State is the state of a stream.
type State int

const (
	// Redialling means that there is no path. It is the first state of a stream.
	Redialling State = iota
	// Up means that there is a path, and nothing says that it does not work.
	Up
	// Stalled means that there is a path, but no answer; a client dials a second one.
	Stalled
	// Ended means that the stream has ended.
	Ended
)

func (s State) String() string {
	return [...]string{"redialling", "up", "stalled", "ended"}[s]
}

// Status describes a stream for its user.
type Status struct {
	State State
	// Since is the time at which the stream entered State. It does not change from Stalled to
	// Redialling, so that a message can say "stalled 42 s".
	Since   time.Time
	Up      uint64 // bytes that the local user has written
	Down    uint64 // bytes that the local user has read
	Unacked uint64 // bytes that the other user has not taken yet
	Stalls  int    // how often the stream was without a working path
	Resumes int
	Opened  bool   // the other end has answered once
	Why     string // why it is not Up
}

// life records the state of a stream for its user.
type life struct {
	state   State
	since   time.Time
	why     string
	stalls  int
	resumes int
	resumed int64         // when, in seconds since 1970; 0: never; atomic
	changed chan struct{} // holds a value after state or why has changed
	until   time.Time     // when the stream ends if it has no path until then; zero: never
	expired error         // why it ends then
}

func newLife(now time.Time) life { return life{since: now, changed: make(chan struct{}, 1)} }

// set changes the state. No other function does.
func (l *life) set(s State, since time.Time, why string) effects {
	if l.state == Ended || l.state == s && l.why == why {
		return 0
	}
	wasBad := l.state != Up
	if l.state == Up && s != Ended {
		l.stalls++
	}
	if s == Up || s == Ended || !wasBad {
		l.since = since
	}
	l.state, l.why = s, why
	signal(l.changed)
	return canWrite // a ring without a path takes more
}

func (l *life) resume(now time.Time) {
	l.resumes++
	atomic.StoreInt64(&l.resumed, now.Unix())
}

// Resumed returns the time of the last resumption, in seconds since 1970; 0: none.
func (c *Conn) Resumed() int64 { return atomic.LoadInt64(&c.life.resumed) }

// Status returns the present state of the stream.
func (c *Conn) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Status{
		State:   c.life.state,
		Since:   c.life.since,
		Up:      c.wire.tx.written(),
		Down:    c.wire.rx.taken(),
		Unacked: c.wire.tx.unacked() + c.wire.tx.left,
		Stalls:  c.life.stalls,
		Resumes: c.life.resumes,
		Opened:  c.wire.keys != nil,
		Why:     c.life.why,
	}
}

// Changed receives a value after State or Why has changed. If it is not received, later changes add
// no further value.
func (c *Conn) Changed() <-chan struct{} { return c.life.changed }

// signal puts a value into a channel of capacity 1, unless it holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
