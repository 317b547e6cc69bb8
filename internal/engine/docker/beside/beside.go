// Package beside puts a guest beside the first process of a container that keyway has not made, and
// removes it again. It does not stop the container or change it otherwise. It trusts nothing that
// the container reports about itself: the Record at the place has the ID of a workspace's
// container.
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

// Guests are the guests of one owner in containers of one daemon.
type Guests struct {
	Client *daemon.Client
	Homes  engine.Homes
	Guest  engine.Guest // the program for the containers
	Owner  string
}

// in returns the container of rec, with the user that the guest runs as.
func (g *Guests) in(rec engine.Record) inside.Container {
	return inside.Container{Client: g.Client, ID: rec.Container, User: rec.Spec.User}
}

// Serve has the guest serve in the container that rec names; name is the container's name in
// messages. The error says why it does not serve. The caller must hold the workspace's lock.
func (g *Guests) Serve(ctx context.Context, rec engine.Record, name string) (keyway.GuestInfo, error) {
	info, err := g.put(ctx, rec)
	if err != nil {
		return info, g.explain(ctx, rec, name, err)
	}
	return info, g.Homes.RunsWith(rec.Spec.Name, g.Guest)
}

// Start puts the guest beside the first process again, unless it lives.
func (g *Guests) Start(ctx context.Context, rec engine.Record, name string, st *container.State) error {
	if st.Paused || !st.Running {
		return g.asleep(rec, name, st)
	}
	ended, doubt := g.Ended(ctx, rec)
	if ended || doubt != nil { // there cannot be two guests: the second one ends
		_, err := g.Serve(ctx, rec, name)
		if doubt != nil && g.in(rec).Greets(ctx) == nil { // its program was incomplete
			return nil
		}
		return err
	}
	_, err := g.in(rec).Await(ctx, func(context.Context) error { return nil })
	return err
}

// Stop ends the guest and all programs that it has started. The container continues.
func (g *Guests) Stop(ctx context.Context, rec engine.Record, name string, st *container.State, grace time.Duration) error {
	switch {
	case st.Paused:
		return g.asleep(rec, name, st)
	case !st.Running:
		return nil
	}
	return g.End(ctx, rec, grace)
}

// Remove removes the guest, and everything about the workspace at the place. The container stays. A
// stopped container keeps the file by which its owner knows the remains of a guest.
func (g *Guests) Remove(ctx context.Context, rec engine.Record, name string, st *container.State) error {
	switch {
	case st.Paused:
		return g.asleep(rec, name, st)
	case st.Running:
		if err := g.Leave(ctx, rec); err != nil {
			return err
		}
	case !st.Dead: // a dead one has only the daemon's word left
		g.clear(ctx, rec)
	}
	return g.Homes.Remove(rec.Spec.Name)
}

// reach bounds the time in which a daemon puts files into a container and starts a program there.
// If the container's runtime or file system hangs, the daemon does not answer at all.
var reach = time.Minute

// put puts the guest into the container that rec names, starts it, gives it its host key, and
// returns when it serves. The Record then names the process. A container that was restarted gets
// the guest again. The caller holds the name's lock.
func (g *Guests) put(ctx context.Context, rec engine.Record) (keyway.GuestInfo, error) {
	name := rec.Spec.Name
	key, err := g.Homes.HostKey(name)
	if err != nil {
		return keyway.GuestInfo{}, err
	}
	conn, exec, err := g.launch(ctx, rec)
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

// launch puts the guest into the container and starts it, within reach.
func (g *Guests) launch(ctx context.Context, rec engine.Record) (*daemon.ExecConn, string, error) {
	timed, cancel := context.WithTimeout(ctx, reach)
	defer cancel() // the connection does not end with it
	if err := g.bring(timed, rec, keyway.DefaultGrace); err != nil {
		return nil, "", err
	}
	return g.in(rec).Start(timed, "init", keyway.EnvHome+"="+string(keyway.GuestHome), keyway.EnvName+"="+string(rec.Spec.Name))
}

// Inspect returns the daemon's description of a container. Docker gives no answer for a container
// in which it hangs while it starts a program.
func (g *Guests) Inspect(ctx context.Context, container string) (client.ContainerInspectResult, error) {
	timed, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	found, err := g.Client.ContainerInspect(timed, container, client.ContainerInspectOptions{})
	if timed.Err() != nil && ctx.Err() == nil && err != nil {
		err = g.hangs(container[:min(len(container), 12)])
	}
	return found, err
}

// hangs returns the error for a container that its daemon cannot reach.
func (g *Guests) hangs(container string) error {
	return keyway.Errorf(keyway.GuestFailed, "%s does not get through to the container %s: it has not answered in time", g.Client.Known().Title(), container).
		Hint("see whether it is frozen, or its disk hangs, at the place: %[1]s exec %[2]s PROGRAM; if so, restart it: %[1]s restart %[2]s", g.Client.Name(), container)
}

// bring copies the guest's files into the container.
func (g *Guests) bring(ctx context.Context, rec engine.Record, grace time.Duration) error {
	archive, err := inside.HomeArchive(g.Guest, keyway.KeysFile(rec.Spec.AuthorizedKeys, rec.Sent),
		inside.File{Path: claimPath, Data: []byte(g.claim())},
		inside.File{Path: keyway.GuestHome.GraceFile(), Data: keyway.GraceText(grace)})
	if err != nil {
		return err
	}
	timed, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	return g.in(rec).Extract(timed, archive)
}

// words reads the output of the guest's first process until the caller leaves. The process
// continues without a reader.
type words struct {
	conn *daemon.ExecConn
	done chan struct{} // closed at the end of the output
	err  error         // why it has ended
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

// ended returns an error, with the last output, if the process has ended.
func (w *words) ended(context.Context) error {
	select {
	case <-w.done:
		if w.err == nil {
			return errors.New("it ended without output")
		}
		return w.err
	default:
		return nil
	}
}

// DoesNotRun returns the state of a container that does not run, in words.
func DoesNotRun(st *container.State) string {
	switch {
	case st.Paused:
		return "is paused"
	case st.Dead:
		return "is dead: it was to be removed, and a part of it is left"
	case st.Status == container.StateRemoving:
		return "is being removed"
	}
	return "does not run"
}

// asleep refuses an operation that needs the container of rec to run. To start or resume a
// container is up to the people who made it.
func (g *Guests) asleep(rec engine.Record, name string, st *container.State) error {
	err := keyway.Errorf(keyway.NotRunning, "the container %s, which the workspace %s is in, %s", name, rec.Spec.Name, DoesNotRun(st))
	verb := "start"
	switch {
	case st.Paused:
		verb = "unpause"
	case st.Dead || st.Status == container.StateRemoving: // no start brings it back
		return err.Hint("at the place: %s rm -f %s", g.Client.Name(), name).Advise(keyway.RemoveRest, string(rec.Spec.Name))
	}
	return err.Hint("at the place, first: %s %s %s", g.Client.Name(), verb, name)
}

// explain words the error of put for the user.
func (g *Guests) explain(ctx context.Context, rec engine.Record, container string, err error) error {
	var said *keyway.Error
	late := errors.Is(err, context.DeadlineExceeded)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case late && errors.Is(err, engine.ErrGuestSilent):
		err = engine.ErrGuestSilent // the error of the last request has no meaning
	case late:
		return g.hangs(container)
	case errors.As(err, &said), daemon.SaysNoSpace(err.Error()), daemon.IsNotFound(err), client.IsErrConnectionFailed(err):
		return g.Client.Explain(ctx, err)
	case rec.Spec.User != "" && inside.UserUnknown(rec.Spec, daemon.Says(err)) != nil:
		return inside.UserUnknown(rec.Spec, daemon.Says(err))
	case rec.Spec.User != "" && strings.Contains(err.Error(), "unable to upgrade"): // Podman gives no details
		return keyway.Errorf(keyway.Usage, "no program can be started in the container %s as the user %q", container, rec.Spec.User).
			Advise(keyway.NumericUser)
	case strings.Contains(strings.ToLower(err.Error()), "exec format error"):
		return keyway.Errorf(keyway.GuestFailed, "the guest program cannot run in the container %s: it is for another kind of processor than the machine that runs the container", container).
			Hint("reach the machine itself, not its daemon from elsewhere")
	}
	return keyway.Errorf(keyway.GuestFailed, "the guest did not come up in the container %s: %w", container, err).
		Hint("try by hand whether programs start there, at the place: %s exec %s PROGRAM", g.Client.Name(), container)
}
