package link

import (
	"context"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// watched is the node of a place for commands on this laptop. If a workspace is stopped or removed,
// its connections end with that reason, even in other windows, and not as broken ones. If the user
// may not use an engine, the uplink is left: the advice is to join a group, which takes effect at
// the next login.
type watched struct {
	api.Node
	link   *Link
	uplink *uplink
	// removing reports whether the workspace that is stopped is removed then; see api.Client.StopFirst.
	removing bool
}

// heed leaves the uplink if the user may not use an engine.
func (s watched) heed(err error) error {
	if keyway.Is(err, keyway.EngineForbidden) {
		s.uplink.leave()
	}
	return err
}

// Create implements api.Node.
func (s watched) Create(ctx context.Context, spec keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error) {
	w, err := s.Node.Create(ctx, spec, report)
	return w, s.heed(err)
}

// Start implements api.Node.
func (s watched) Start(ctx context.Context, name keyway.Name) error {
	return s.heed(s.Node.Start(ctx, name))
}

// Facts implements api.Node.
func (s watched) Facts(ctx context.Context, spec keyway.Spec) (keyway.Facts, error) {
	f, err := s.Node.Facts(ctx, spec)
	if f.Engine.Why != nil {
		_ = s.heed(f.Engine.Why)
	}
	return f, s.heed(err)
}

// List implements api.Node.
func (s watched) List(ctx context.Context) (api.Listing, error) {
	list, err := s.Node.List(ctx)
	for _, problem := range list.Problems {
		_ = s.heed(problem)
	}
	return list, s.heed(err)
}

// Stop implements api.Node.
func (s watched) Stop(ctx context.Context, name keyway.Name, grace time.Duration) error {
	reason := keyway.Errorf(keyway.NotRunning, "the workspace %s was stopped", name).Advise(keyway.StartNow, s.uplink.place.Of(name))
	if s.removing {
		reason = wasRemoved(name)
	}
	return s.link.during(s.uplink, name, reason, func() error { return s.heed(s.Node.Stop(ctx, name, grace)) })
}

// Remove implements api.Node.
func (s watched) Remove(ctx context.Context, name keyway.Name) error {
	return s.remove(name, func() error { return s.Node.Remove(ctx, name) })
}

// Purge implements api.Node.
func (s watched) Purge(ctx context.Context, name keyway.Name) error {
	return s.remove(name, func() error { return s.Node.Purge(ctx, name) })
}

// Undo implements api.Node.
func (s watched) Undo(ctx context.Context, name keyway.Name) error {
	return s.remove(name, func() error { return s.Node.Undo(ctx, name) })
}

func wasRemoved(name keyway.Name) *keyway.Error {
	return keyway.Errorf(keyway.NotFound, "the workspace %s was removed", name)
}

func (s watched) remove(name keyway.Name, do func() error) error {
	removed := wasRemoved(name)
	err := s.link.during(s.uplink, name, removed, func() error { return s.heed(do()) })
	if err == nil || keyway.Is(err, keyway.NotFound) {
		s.link.forwards.fail(s.uplink.place, name, removed)
	}
	return err
}

// during runs do, which ends all connections to a workspace. They are told the reason.
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

// endsBy returns the reason for which connections to the workspace end now; nil if there is none.
func (u *uplink) endsBy(name keyway.Name) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if reason := u.ending[name]; reason != nil {
		return reason
	}
	return nil
}
