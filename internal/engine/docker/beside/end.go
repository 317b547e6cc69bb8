package beside

import (
	"context"
	"time"

	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/inside"
	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// Ended reports whether no guest lives in the container: it was ended, or the container
// was restarted. An error is why that cannot be told; then one may live. That a daemon
// has the process running is true; that it has not is not: Podman forgets a process
// seconds after its caller has hung up, and a daemon that was restarted knows none.
func (g *Guests) Ended(ctx context.Context, rec engine.Record) (bool, error) {
	timed, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	found, err := g.Client.ExecInspect(timed, rec.Exec, client.ExecInspectOptions{})
	if err == nil && found.ContainerID == rec.Container && found.Running {
		return false, nil
	}
	if err = g.in(rec).Greets(ctx); err == nil {
		return false, nil
	}
	if g.in(rec).NobodyServes(ctx) {
		return true, nil
	}
	return false, err
}

// Gone reports whether it is certain that no guest lives in the container.
func (g *Guests) Gone(ctx context.Context, rec engine.Record) bool {
	ended, _ := g.Ended(ctx, rec)
	return ended
}

const (
	// endSlack is what a guest needs beside the grace of the programs: for a last call, to
	// kill, for records, and for those who wait.
	endSlack = 15 * time.Second
	// settle is how long a daemon may take to notice that the guest has ended.
	settle = 5 * time.Second
	// sweeping is how long the removal of the guest's files may take.
	sweeping = 10 * time.Second
)

// End ends the guest and all that people run through it, and nothing else of the
// container. Programs have grace to end by themselves. No guest is none to end. It fails
// unless it is certain that none lives afterwards.
func (g *Guests) End(ctx context.Context, rec engine.Record, grace time.Duration) error {
	asking, cancel := context.WithTimeout(ctx, grace+endSlack)
	defer cancel()
	text, err := inside.Archive(inside.File{Path: keyway.GuestHome.GraceFile(), Data: keyway.GraceText(grace)})
	if err == nil {
		err = g.in(rec).Extract(asking, text)
	}
	if err == nil {
		err = g.in(rec).Run(asking, "halt")
	}
	ended, doubt := g.awaitEnd(ctx, rec, err == nil)
	switch {
	case ended:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		err = doubt
	}
	if daemon.SaysNoSpace(err.Error()) || client.IsErrConnectionFailed(err) {
		return g.Client.Explain(ctx, err)
	}
	return keyway.Errorf(keyway.GuestFailed, "the guest of %s, and what runs in it, cannot be ended: %w", rec.Spec.Name, err).
		Hint("restart the container at the place; the guest ends with it")
}

// awaitEnd is Ended. A daemon may take a moment to notice that a guest was halted, and
// one doubt is none yet.
func (g *Guests) awaitEnd(ctx context.Context, rec engine.Record, halted bool) (ended bool, doubt error) {
	deadline := time.Now().Add(settle)
	for pause, doubts := 5*time.Millisecond, 0; ; pause *= 2 {
		if ended, doubt = g.Ended(ctx, rec); doubt != nil {
			doubts++
		}
		if ended || doubts > 2 || !halted {
			return ended, doubt
		}
		if time.Now().After(deadline) {
			return false, engine.ErrGuestSilent
		}
		if err := sleep.For(ctx, pause); err != nil {
			return false, err
		}
	}
}

// root is whom the daemon lets remove what others own in a container.
const root = "0:0"

// Leave ends the guest and removes what it has in the container. Its own user removes
// what root cannot, where containers' root has no more rights than others. What programs
// of the container keep from being removed stays; nothing starts it.
func (g *Guests) Leave(ctx context.Context, rec engine.Record) error {
	err := g.End(ctx, rec, 0)
	if keyway.Is(err, keyway.GuestFailed) && g.bring(ctx, rec, 0) == nil { // something may have replaced its program
		err = g.End(ctx, rec, 0)
	}
	if err != nil {
		return err
	}
	c := g.in(rec)
	if g.sweep(ctx, c) != nil {
		c.User = root
		_ = g.sweep(ctx, c)
	}
	if !g.isFree(ctx, rec.Container) { // its owner knows that what is left is of no use
		if archive, err := inside.Archive(inside.File{Path: claimPath, Data: []byte(g.claim())}); err == nil {
			_ = c.Extract(ctx, archive)
		}
	}
	return ctx.Err()
}

func (g *Guests) sweep(ctx context.Context, c inside.Container) error {
	ctx, cancel := context.WithTimeout(ctx, sweeping)
	defer cancel()
	return c.Run(ctx, "sweep")
}
