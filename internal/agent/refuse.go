package agent

import (
	"sync"
	"time"

	"keyway/internal/audit"
)

// Clients with many refusals are slowed down, and then dropped: each asker has a bucket that
// every refusal fills and that empties by one a second.
const (
	slowAfter = 32                    // refusals are answered at once
	dropAfter = 1024                  // refusals each one ends the connection of a remote asker
	slowBy    = 10 * time.Millisecond // between two answers, for all connections of the asker
	slowMost  = time.Second           // and no answer waits longer
	maxSlowed = 1024                  // askers that are told apart
)

// refusals are of all connections.
type refusals struct {
	mu     sync.Mutex
	fold   audit.Fold
	askers map[askerID]*slowed
}

// askerID is the process at the other end of a connection, which a remote asker
// cannot choose: all that comes through one forwarding is one asker. Where the system
// does not name the process, it is everybody through the same socket.
type askerID struct {
	remote bool
	pid    int
}

// slowed is the bucket of one asker.
type slowed struct {
	level float64
	at    time.Time
	next  time.Time // when the next slow answer may go
}

// refused counts a refusal of the asker. It gives how long the answer waits, and
// whether the connection ends after it.
func (r *refusals) refused(who askerID, now time.Time) (wait time.Duration, drop bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.askers[who]
	if s == nil {
		r.forgetLocked(now)
		s = &slowed{at: now}
		r.askers[who] = s
	}
	s.level = max(0, s.level-now.Sub(s.at).Seconds()) + 1
	s.at = now
	if s.level <= slowAfter {
		return 0, false
	}
	if s.next.Before(now) {
		s.next = now
	}
	s.next = s.next.Add(slowBy)
	return min(s.next.Sub(now), slowMost), who.remote && s.level > dropAfter
}

// forgetLocked makes room for an asker.
func (r *refusals) forgetLocked(now time.Time) {
	if r.askers == nil {
		r.askers = map[askerID]*slowed{}
	}
	for who, s := range r.askers {
		if now.Sub(s.at) > time.Minute || len(r.askers) >= maxSlowed {
			delete(r.askers, who)
		}
	}
}

// noteRefusal logs a refusal, or counts it for a line of the log that comes later.
func (a *Agent) noteRefusal(e audit.Event) {
	a.refusals.mu.Lock()
	defer a.refusals.mu.Unlock()
	a.noteAll(a.refusals.fold.Take(e, time.Now()))
}

// noteRefusals logs the counted refusals: all of them, or those that are due.
func (a *Agent) noteRefusals(all bool) {
	a.refusals.mu.Lock()
	defer a.refusals.mu.Unlock()
	if all {
		a.noteAll(a.refusals.fold.All(time.Now()))
		return
	}
	a.noteAll(a.refusals.fold.Due(time.Now()))
}

func (a *Agent) noteAll(events []audit.Event) {
	for _, e := range events {
		if err := a.write(e); err != nil {
			a.config.Logf("%v", err)
		}
	}
}
