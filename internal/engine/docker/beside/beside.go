// Package beside puts a guest beside the first process of a container that somebody else
// has made, and takes it away again. The container is neither changed otherwise nor
// stopped, and what it says of itself decides nothing: which container a workspace is in,
// the Record at the place says, by its ID.
package beside

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/inside"
	"keyway/internal/keyway"
)

// Guests are those that one owner has put into containers of a daemon.
type Guests struct {
	Client *daemon.Client
	Homes  engine.Homes
	Guest  engine.Guest // what is put into containers
	Owner  string
}

// in is the container of rec, with the user whose guest it is.
func (g *Guests) in(rec engine.Record) inside.Container {
	return inside.Container{Client: g.Client, ID: rec.Container, User: rec.Spec.User}
}

// Serve has the guest serve in the container that rec names and people call name, and
// explains why it does not. The caller holds the workspace's lock.
func (g *Guests) Serve(ctx context.Context, rec engine.Record, name string) (keyway.GuestInfo, error) {
	info, err := g.put(ctx, rec)
	if err != nil {
		return info, g.explain(ctx, rec, name, err)
	}
	return info, g.Homes.RunsWith(rec.Spec.Name, g.Guest)
}

// Start puts the guest beside the first process again, if it does not live.
func (g *Guests) Start(ctx context.Context, rec engine.Record, name string, st *container.State) error {
	if st.Paused || !st.Running {
		return g.asleep(rec, name, st)
	}
	if g.Ended(ctx, rec) {
		_, err := g.Serve(ctx, rec, name)
		return err
	}
	_, err := g.in(rec).Await(ctx, func(context.Context) error { return nil })
	return err
}

// Stop ends the guest and all that people run through it. The container goes on.
func (g *Guests) Stop(ctx context.Context, rec engine.Record, name string, st *container.State, grace time.Duration) error {
	switch {
	case st.Paused:
		return g.asleep(rec, name, st)
	case !st.Running:
		return nil
	}
	return g.End(ctx, rec, grace)
}

// Remove removes the guest, and all that is known of the workspace at the place. The
// container stays. One that does not run keeps the guest's files, which nothing starts.
func (g *Guests) Remove(ctx context.Context, rec engine.Record, name string, st *container.State) error {
	switch {
	case st.Paused:
		return g.asleep(rec, name, st)
	case st.Running:
		if err := g.Leave(ctx, rec); err != nil {
			return err
		}
	}
	return g.Homes.Remove(rec.Spec.Name)
}

// put puts the guest into the container that rec names, starts it and hands it its host
// key, and returns when it serves. The Record then names the process. A container that
// was restarted gets the guest anew. The caller holds the name's lock.
func (g *Guests) put(ctx context.Context, rec engine.Record) (keyway.GuestInfo, error) {
	name := rec.Spec.Name
	key, err := g.Homes.HostKey(name)
	if err != nil {
		return keyway.GuestInfo{}, err
	}
	archive, err := inside.HomeArchive(g.Guest, keyway.KeysFile(rec.Spec.AuthorizedKeys, rec.Sent),
		inside.File{Path: claimPath, Data: []byte(g.claim())},
		inside.File{Path: keyway.GuestHome.GraceFile(), Data: keyway.GraceText(keyway.DefaultGrace)})
	if err == nil {
		err = g.in(rec).Extract(ctx, archive)
	}
	if err != nil {
		return keyway.GuestInfo{}, err
	}
	conn, exec, err := g.in(rec).Start(ctx, "init", keyway.EnvHome+"="+string(keyway.GuestHome), keyway.EnvName+"="+string(name))
	if err != nil {
		return keyway.GuestInfo{}, err
	}
	said := listen(conn)
	defer said.leave()
	err = g.Homes.Revise(name, func(r *engine.Record) { r.Exec = exec })
	if err == nil {
		_, err = conn.Write(key)
	}
	if err != nil {
		return keyway.GuestInfo{}, err
	}
	return g.in(rec).Await(ctx, said.ended)
}

// words are what the guest's first process says until the caller leaves. It goes on
// without anybody who listens.
type words struct {
	conn *daemon.ExecConn
	done chan struct{} // closed at the end of all words
	err  error         // why they have ended
}

func listen(conn *daemon.ExecConn) *words {
	w := &words{conn: conn, done: make(chan struct{})}
	go func() { // ends with the connection, which leave closes
		defer close(w.done)
		w.err = inside.LastWords(conn)
	}()
	return w
}

func (w *words) leave() {
	w.conn.Close()
	<-w.done
}

// ended is an error if the process has ended, with its last words.
func (w *words) ended(context.Context) error {
	select {
	case <-w.done:
		if w.err == nil {
			return errors.New("it has ended without a word")
		}
		return w.err
	default:
		return nil
	}
}

// endSlack is what a guest needs beside the grace of the programs: for a last call, to
// kill, for records, and for those who wait.
const endSlack = 15 * time.Second

// End ends the guest and all that people run through it, and nothing else of the
// container. Programs have grace to end by themselves. No guest is none to end.
func (g *Guests) End(ctx context.Context, rec engine.Record, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+endSlack)
	defer cancel()
	text, err := inside.Archive(inside.File{Path: keyway.GuestHome.GraceFile(), Data: keyway.GraceText(grace)})
	if err == nil {
		err = g.in(rec).Extract(ctx, text)
	}
	if err == nil {
		err = g.in(rec).Run(ctx, "halt")
	}
	if err == nil || g.Ended(context.WithoutCancel(ctx), rec) {
		return nil
	}
	return keyway.Errorf(keyway.GuestFailed, "the guest of %s cannot be ended: %w", rec.Spec.Name, err).
		Hint("restart the container at the place; the guest ends with it")
}

// root is whom the daemon lets remove what others own in a container.
const root = "0:0"

// Leave ends the guest and removes what it has in the container. Its own user removes
// what root cannot, where containers' root has no more rights than others. What programs
// of the container keep from being removed stays; nothing starts it.
func (g *Guests) Leave(ctx context.Context, rec engine.Record) error {
	if err := g.End(ctx, rec, 0); err != nil {
		return err
	}
	c := g.in(rec)
	if c.Run(ctx, "sweep") != nil {
		c.User = root
		_ = c.Run(ctx, "sweep")
	}
	if !g.isFree(ctx, rec.Container) { // its owner knows that what is left is of no use
		if archive, err := inside.Archive(inside.File{Path: claimPath, Data: []byte(g.claim())}); err == nil {
			_ = c.Extract(ctx, archive)
		}
	}
	return ctx.Err()
}

// Ended reports whether no guest lives in the container: it was ended, or the container
// was restarted. The daemon knows the process as long as that lives, unless the daemon
// itself was restarted meanwhile.
func (g *Guests) Ended(ctx context.Context, rec engine.Record) bool {
	found, err := g.Client.ExecInspect(ctx, rec.Exec, client.ExecInspectOptions{})
	if err == nil && found.ContainerID == rec.Container {
		return !found.Running
	}
	return daemon.IsNotFound(err) && g.in(rec).Greets(ctx) != nil
}

// DoesNotRun is how a container is that does not run.
func DoesNotRun(st *container.State) string {
	if st.Paused {
		return "is paused"
	}
	return "does not run"
}

// asleep refuses what needs the container of rec to run: to start or let go on what others
// have made is theirs.
func (g *Guests) asleep(rec engine.Record, name string, st *container.State) error {
	verb := "start"
	if st.Paused {
		verb = "unpause"
	}
	return keyway.Errorf(keyway.NotRunning, "the container %s, which the workspace %s is in, %s", name, rec.Spec.Name, DoesNotRun(st)).
		Hint("at the place, first: %s %s %s", g.Client.Name(), verb, name)
}

// explain is why put has failed, in the user's words.
func (g *Guests) explain(ctx context.Context, rec engine.Record, container string, err error) error {
	var said *keyway.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &said), daemon.IsNotFound(err), client.IsErrConnectionFailed(err):
		return g.Client.Explain(ctx, err)
	case rec.Spec.User != "" && inside.UserUnknown(rec.Spec, daemon.Says(err)) != nil:
		return inside.UserUnknown(rec.Spec, daemon.Says(err))
	case rec.Spec.User != "" && strings.Contains(err.Error(), "unable to upgrade"): // Podman says no more
		return keyway.Errorf(keyway.Usage, "no program can be started in the container %s as the user %q", container, rec.Spec.User).
			Advise(keyway.NumericUser)
	case strings.Contains(strings.ToLower(err.Error()), "exec format error"):
		return keyway.Errorf(keyway.GuestFailed, "the guest program cannot run in the container %s: it is for another kind of processor than the machine that runs the container", container).
			Hint("reach the machine itself, not its daemon from elsewhere")
	}
	return keyway.Errorf(keyway.GuestFailed, "the guest did not come up in the container %s: %w", container, err).
		Hint("try by hand whether programs start there, at the place: %s exec %s PROGRAM", g.Client.Name(), container)
}
