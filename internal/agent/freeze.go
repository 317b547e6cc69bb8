package agent

import (
	"context"
	"net"
	"sync"
	"time"

	"keyway/internal/sleep"
)

// An agent is frozen while it is handed over to another process (handover.go):
// every request has been answered, and no connection has lost a byte.

// setDeadline wakes who accepts, or lets them wait again.
func setDeadline(l net.Listener, when time.Time) {
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(when)
	}
}

// Freeze makes Serve and Resume return, with listeners and connections left open,
// once the requests that are being answered have been.
func (a *Agent) Freeze() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.freezing)
	for l := range a.listeners {
		setDeadline(l, time.Unix(1, 0))
	}
	for c := range a.open {
		c.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// Frozen reports whether the agent is frozen, or about to be.
func (a *Agent) Frozen() bool {
	select {
	case <-a.freezing:
		return true
	default:
		return false
	}
}

// Thaw ends it: Serve and Resume can be called again. It must not be called while the agent serves.
func (a *Agent) Thaw() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.freezing = make(chan struct{})
	for c := range a.open {
		c.conn.SetReadDeadline(time.Time{})
	}
}

// Resume answers the connections that were left open, until they end, or ctx does.
func (a *Agent) Resume(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.open {
		if c.parked {
			c.parked = false
			wg.Go(func() { c.serve(ctx) })
		}
	}
}

func (a *Agent) park(c *connection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.parked = true
}

// quietCheck is the interval at which AwaitQuiet checks.
const quietCheck = 20 * time.Millisecond

// AwaitQuiet waits until no signature is being made or asked for, so that no asker waits long while
// the agent is frozen. It is false if ctx ended first.
func (a *Agent) AwaitQuiet(ctx context.Context) bool {
	for a.signing.Load() > 0 {
		if sleep.For(ctx, quietCheck) != nil {
			return false
		}
	}
	return true
}
