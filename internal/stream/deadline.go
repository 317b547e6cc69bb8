package stream

import (
	"os"
	"sync"
	"time"
)

// half is the user's view of one direction of a stream.
type half struct {
	mu    sync.Mutex // one user at a time
	by    deadline
	ready chan struct{} // has a value when another try is worth it
	// deliver is called by the reader of a path in place of ready, under no lock; nil: there is no
	// CopyTo. It is protected by the Conn's lock, and is a function, so that a program without CopyTo
	// does not hold its code.
	deliver func()
}

func newHalf() half { return half{ready: make(chan struct{}, 1)} }

// wait returns when another try is worth it, or with an error when the deadline has passed.
func (h *half) wait(done <-chan struct{}) error {
	select {
	case <-h.ready:
	case <-done:
	case <-h.by.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// deadline is one of the two deadlines of a net.Conn.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	past  chan struct{} // closed when the deadline has passed
}

// passed returns a channel that is closed when the deadline passes. A goroutine that waits on it
// also sees later changes of the deadline, unless it has already passed.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channel()
}

func (d *deadline) channel() chan struct{} {
	if d.past == nil {
		d.past = make(chan struct{})
	}
	return d.past
}

// set moves the deadline; the zero time removes it.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	past := d.channel()
	if isClosed(past) {
		past = make(chan struct{})
		d.past = past
	}
	if t.IsZero() {
		return
	}
	if left := time.Until(t); left <= 0 {
		close(past)
	} else {
		d.arm(past, left)
	}
}

// arm closes past later, unless the deadline is moved before.
func (d *deadline) arm(past chan struct{}, left time.Duration) {
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == timer {
			d.timer = nil
			close(past)
		}
	})
	d.timer = timer
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
