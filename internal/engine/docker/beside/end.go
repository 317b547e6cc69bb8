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

// Ended reports whether no guest lives in the container: it was ended, or the container was
// restarted. An error means that this is not known, and a guest may live. A daemon's word that the
// process runs is reliable; its word that it does not run is not: Podman forgets a process seconds
// after its caller has disconnected, and a restarted daemon has forgotten all.
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
	// endSlack is the time that a guest needs besides the grace of the programs: for a last call,
	// to kill, to write records, and for waiting clients.
	endSlack = 15 * time.Second
	// settle is the time that a daemon may need to notice that the guest has ended.
	settle = 5 * time.Second
	// sweeping bounds the time to remove the guest's files.
	sweeping = 10 * time.Second
)

// End ends the guest and all programs that it has started, and nothing else in the container.
// Programs have grace to end by themselves. If there is no guest, it does nothing. It fails unless
// it is certain that no guest lives afterwards.
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

// awaitEnd is Ended for a daemon that may need a moment to notice that a guest was halted. It
// ignores a first doubt.
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

// root is the user as which the daemon removes files of other users in a container.
const root = "0:0"

// Leave ends the guest and removes its files in the container. Files that root cannot remove, where
// a container's root has no more rights than others, their own user removes. Files that the
// container's programs keep from being removed stay; nothing starts them.
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
	if !g.isFree(ctx, rec.Container) { // the owner knows that the remains are useless
		_ = g.leaveClaim(ctx, rec, inside.Archive)
	}
	return ctx.Err()
}

// clear removes the guest's files in a container that does not run, up to the claim. Without the claim, they are of
// another owner, or of the container itself.
func (g *Guests) clear(ctx context.Context, rec engine.Record) {
	ctx, cancel := context.WithTimeout(ctx, sweeping)
	defer cancel()
	if g.claimIn(ctx, rec.Container) == g.claim() {
		_ = g.leaveClaim(ctx, rec, inside.LeftArchive) // no program of it will run
	}
}

// leaveClaim puts the claim into the container, in an archive that the function makes.
func (g *Guests) leaveClaim(ctx context.Context, rec engine.Record, in func(...inside.File) ([]byte, error)) error {
	archive, err := in(inside.File{Path: claimPath, Data: []byte(g.claim())})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sweeping)
	defer cancel()
	return g.in(rec).Extract(ctx, archive)
}

func (g *Guests) sweep(ctx context.Context, c inside.Container) error {
	ctx, cancel := context.WithTimeout(ctx, sweeping)
	defer cancel()
	return c.Run(ctx, "sweep")
}
