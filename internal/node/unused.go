package node

import (
	"context"
	"slices"
	"sync"

	"keyway/internal/keyway"
)

// unused holds the workspaces that this process has made and nothing has used yet, and those that it
// is making. The zero value is empty. Its methods may be called concurrently.
type unused struct {
	mu     sync.Mutex
	made   map[keyway.Name]struct{}
	making map[keyway.Name][]chan struct{} // each is closed when an attempt has ended
}

// begin notes that a workspace is being made, until end is called with the result.
func (u *unused) begin(name keyway.Name) (end func(made bool)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.making == nil {
		u.made, u.making = map[keyway.Name]struct{}{}, map[keyway.Name][]chan struct{}{}
	}
	done := make(chan struct{})
	u.making[name] = append(u.making[name], done)
	return func(made bool) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if made {
			u.made[name] = struct{}{}
		}
		u.making[name] = slices.DeleteFunc(u.making[name], func(c chan struct{}) bool { return c == done })
		if len(u.making[name]) == 0 {
			delete(u.making, name)
		}
		close(done)
	}
}

// wait returns when each attempt to make the workspace that was under way has ended.
func (u *unused) wait(ctx context.Context, name keyway.Name) error {
	u.mu.Lock()
	all := slices.Clone(u.making[name])
	u.mu.Unlock()
	for _, done := range all {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// take notes that a workspace is used or gone, and reports whether it was unused.
func (u *unused) take(name keyway.Name) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, was := u.made[name]
	delete(u.made, name)
	return was
}

// making calls makes, which makes the workspace.
func (n *Node) making(name keyway.Name, makes func() (keyway.Workspace, error)) (made keyway.Workspace, err error) {
	end := n.unused.begin(name)
	defer func() { end(err == nil) }()
	return makes()
}

// WaitIdle implements api.Node. It removes a workspace that nothing has used: the place had made it
// before its maker gave up, and answered too late.
func (n *Node) WaitIdle(ctx context.Context, name keyway.Name) error {
	unlock, err := n.homes.Lock(ctx, name)
	if err != nil {
		return err
	}
	unlock()
	if err := n.unused.wait(ctx, name); err != nil || !n.unused.take(name) {
		return err
	}
	if err := n.Undo(ctx, name); !keyway.Is(err, keyway.NotFound) {
		return err
	}
	return nil
}
