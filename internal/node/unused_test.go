package node

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// realEngine is a fakeEngine that keeps what it makes until it is removed.
type realEngine struct {
	fakeEngine
	homes engine.Homes
}

func (r *realEngine) Create(_ context.Context, s keyway.Spec, _ func(keyway.Progress)) (keyway.Workspace, error) {
	if slices.Contains(r.has, s.Name) {
		return keyway.Workspace{}, engine.NameTaken(s.Name)
	}
	r.has = append(r.has, s.Name)
	_, err := r.homes.Make(s, engine.Guest{Dir: "/guests/cafe"})
	return keyway.Workspace{Name: s.Name, Engine: r.name}, err
}

func (r *realEngine) Remove(_ context.Context, name keyway.Name) error {
	r.has = slices.DeleteFunc(r.has, func(n keyway.Name) bool { return n == name })
	return nil
}

// TestWaitIdleTakesBackWhatCameTooLate checks that a workspace whose maker gave up while the place
// answered does not stay, and that one that has been used does.
func TestWaitIdleTakesBackWhatCameTooLate(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		between func(n *Node)
		stays   bool
	}{
		"at once":                  {func(*Node) {}, false},
		"connected to":             {func(n *Node) { _, _ = n.Dial(ctx, "a") }, true},
		"stopped":                  {func(n *Node) { _ = n.Stop(ctx, "a", 0) }, true},
		"started":                  {func(n *Node) { _ = n.Start(ctx, "a") }, true},
		"another one was idle":     {func(n *Node) { _ = n.WaitIdle(ctx, "b") }, false},
		"another one connected to": {func(n *Node) { _, _ = n.Dial(ctx, "b") }, false},
		"removed already":          {func(n *Node) { _ = n.Remove(ctx, "a") }, false},
		"of an earlier node":       {func(n *Node) { n.unused = unused{} }, true},
		"used, and requested again": {func(n *Node) {
			_, _ = n.Dial(ctx, "a")
			_, _ = n.Create(ctx, keyway.Spec{Name: "a", Engine: "docker"}, func(keyway.Progress) {})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			homes := engine.HomesIn(t.TempDir())
			e := &realEngine{fakeEngine{name: "docker"}, homes}
			n := New(homes, nil, e)
			if _, err := n.Create(ctx, keyway.Spec{Name: "a", Engine: "docker", Image: "i"}, func(keyway.Progress) {}); err != nil {
				t.Fatal(err)
			}
			c.between(n)
			if err := n.WaitIdle(ctx, "a"); err != nil {
				t.Error(err)
			}
			if got := slices.Contains(e.has, "a"); got != c.stays {
				t.Errorf("it is there: %v", got)
			}
		})
	}
	n := New(engine.HomesIn(t.TempDir()), nil, &fakeEngine{name: "docker"})
	if err := n.WaitIdle(ctx, "a"); err != nil {
		t.Errorf("nothing was made: %v", err)
	}
}

// TestWaitIdleAwaitsAnAttempt checks that a workspace that is complete, and whose Create has not
// returned yet, is taken back, too.
func TestWaitIdleAwaitsAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u unused
		end := u.begin("a")
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := u.wait(gone, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("of one who does not wait: %v", err)
		}
		waited := make(chan error, 1)
		go func() { waited <- u.wait(t.Context(), "a") }()
		synctest.Wait()
		if len(waited) > 0 {
			t.Error("it did not wait")
		}
		if err := u.wait(t.Context(), "b"); err != nil {
			t.Error(err)
		}
		end(true)
		if err := <-waited; err != nil || !u.take("a") || u.take("a") {
			t.Errorf("afterwards: %v", err)
		}
		u.begin("a")(false)
		if u.take("a") || len(u.making) > 0 {
			t.Error("a failed attempt made something, or goes on")
		}
	})
}
