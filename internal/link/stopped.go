package link

import (
	"context"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// stopping is the node of a place, through which somebody at this laptop may stop
// or remove a workspace: whoever is connected to it is told that, in another window,
// and not that a connection broke.
type stopping struct {
	api.Node
	link   *Link
	uplink *uplink
}

// Stop implements api.Node.
func (s stopping) Stop(ctx context.Context, name keyway.Name, grace time.Duration) error {
	return s.link.during(s.uplink, name, keyway.Errorf(keyway.NotRunning, "the workspace %s was stopped", name).Advise(keyway.StartNow, string(name)),
		func() error { return s.Node.Stop(ctx, name, grace) })
}

// Remove implements api.Node.
func (s stopping) Remove(ctx context.Context, name keyway.Name) error {
	return s.link.during(s.uplink, name, keyway.Errorf(keyway.NotFound, "the workspace %s was removed", name),
		func() error { return s.Node.Remove(ctx, name) })
}

// during does what ends all connections to a workspace, for a reason that they are
// told.
func (l *Link) during(u *uplink, name keyway.Name, reason *keyway.Error, do func() error) error {
	u.mu.Lock()
	u.ending[name] = reason
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		delete(u.ending, name)
		u.mu.Unlock()
	}()
	err := do()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.lives {
		guest := c.guest.Load()
		if c.uplink == u && c.name == name && guest != nil {
			l.ended.Go(func() { _ = guest.CloseWithError(reason) })
		}
	}
	return nil
}

// endsBy is why connections to the workspace end now; nil: for no such reason.
func (u *uplink) endsBy(name keyway.Name) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if reason := u.ending[name]; reason != nil {
		return reason
	}
	return nil
}
