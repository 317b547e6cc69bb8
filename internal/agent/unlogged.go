package agent

import (
	"fmt"
	"sync"
	"time"

	"keyway/internal/audit"
)

// unlogged counts events that could not be written, for example on a full disk, until a line with
// the count can be written. The agent continues to sign for this machine meanwhile, and the log
// must not hide that.
type unlogged struct {
	mu sync.Mutex
	unloggedCount
}

// unloggedCount continues in the process that takes the agent's place.
type unloggedCount struct {
	Events, Uses uint64
	Since        time.Time
	Why          string
}

func (u *unlogged) count(e audit.Event, err error) error {
	if u.Events == 0 {
		u.Since, u.Why = time.Now(), err.Error()
	}
	if u.Events++; e.Event == audit.Sign && e.Verdict == audit.Allowed && !e.Remote {
		u.Uses++ // a remote asker got no signature
	}
	return err
}

// write logs an event, after the count of those that could not be logged before.
func (a *Agent) write(e audit.Event) error {
	if a.config.Log == nil {
		return nil
	}
	a.unlogged.mu.Lock()
	defer a.unlogged.mu.Unlock()
	err := a.settleLocked()
	if err == nil {
		err = a.config.Log.Append(e)
	}
	if err != nil {
		return a.unlogged.count(e, err)
	}
	return nil
}

// settle logs the count of unlogged events, if there are any and the log can be written.
func (a *Agent) settle() {
	a.unlogged.mu.Lock()
	defer a.unlogged.mu.Unlock()
	_ = a.settleLocked() // it is tried again
}

func (a *Agent) settleLocked() error {
	u := &a.unlogged
	if u.Events == 0 {
		return nil
	}
	err := a.config.Log.Append(audit.Event{
		Event: audit.Unwritten, Unwritten: u.Events,
		Reason: fmt.Sprintf("%d events could not be logged from %s on, %d of them signatures for programs of this machine: %s", u.Events, u.Since.Format(time.RFC3339), u.Uses, u.Why),
	})
	if err == nil {
		u.unloggedCount = unloggedCount{}
	}
	return err
}
