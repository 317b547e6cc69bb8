package docker

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/chosen"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/images"
	"keyway/internal/engine/docker/inside"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

// Create implements engine.Engine.
func (e *Engine) Create(ctx context.Context, s keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error) {
	d, err := e.client.Identify(ctx)
	if err != nil {
		return keyway.Workspace{}, err
	}
	if err := check(d, e.client.Local(), s); err != nil {
		return keyway.Workspace{}, err
	}
	unlock, err := e.homes.TryLock(s.Name)
	if err != nil {
		return keyway.Workspace{}, err
	}
	defer unlock()
	if err := e.vacant(ctx, s.Name); err != nil {
		return keyway.Workspace{}, err
	}
	image, err := e.Ensure(ctx, d, s.Image, report)
	if err != nil {
		return keyway.Workspace{}, err
	}
	s.Engine = d.Name()
	// Podman takes up to a second for this answer, so it is asked once.
	said, err := e.client.Said(ctx)
	if err == nil && dependsOnDaemon(s) {
		d, err = e.client.Inquire(ctx, d, said)
	}
	if err == nil {
		err = unlimited(d, s.Resources)
	}
	if err != nil {
		return keyway.Workspace{}, err
	}
	gpus, err := e.lend(ctx, d, s, report)
	if err != nil {
		return keyway.Workspace{}, err
	}
	defer gpus.grant.Close()
	return e.create(ctx, d, said, order{s, image, gpus}, report)
}

// vacant makes sure that the name is free. It removes a Home whose container was removed without
// keyway, and the remains of a killed node.
func (e *Engine) vacant(ctx context.Context, name keyway.Name) error {
	_, err := e.client.ContainerInspect(ctx, e.container(name), client.ContainerInspectOptions{})
	switch {
	case err == nil:
		m, st, err := e.find(ctx, name)
		if err != nil || !halfMade(st) {
			return engine.ContainerTaken(err, name, e.Name(), e.container(name))
		}
		if err := e.removeContainer(ctx, m.id); err != nil {
			return err
		}
	case !daemon.IsNotFound(err):
		return e.client.Explain(ctx, err)
	}
	if rec, err := e.homes.Known(name); err != nil || rec.Spec.Name == "" {
		return err
	}
	return e.removeRest(ctx, name, engine.NameTaken(name))
}

// order is a workspace that is to be made, with the resources that were obtained for it.
type order struct {
	spec  keyway.Spec
	image images.Facts
	gpus  gpuOrder
}

// create makes the workspace with the first mode that works. If none works, it leaves nothing. said
// is the description of the machine by the daemon d.
func (e *Engine) create(ctx context.Context, d daemon.Identity, said system.Info, o order, report func(keyway.Progress)) (keyway.Workspace, error) {
	why := e.client.RemoteReason(said)
	s, by := chosen.Complete(o.spec, d, e.client.Local(), said, report)
	o.spec = s
	home, err := e.homes.Make(s, e.guest)
	if err != nil {
		return keyway.Workspace{}, err
	}
	if err := e.note(s.Name, said, by); err != nil {
		return keyway.Workspace{}, errors.Join(err, e.homes.Remove(s.Name))
	}
	mode := modeBind
	if e.byExec || why != "" {
		mode = modeExec
	}
	try := func(mode string) (keyway.Workspace, error) {
		if mode == modeExec && d.Podman && s.ReadOnly {
			return keyway.Workspace{}, noReadOnly()
		}
		w, err := e.try(ctx, o, mode)
		for err != nil {
			other, ok := o.gpus.next(err)
			if !ok {
				break
			}
			o.gpus = other
			w, err = e.try(ctx, o, mode)
		}
		return w, err
	}
	w, err := try(mode)
	if errors.Is(err, errRemoteDaemon) && mode == modeBind {
		why = errRemoteDaemon.Error()
		cleanup, cancel := cleanupContext(ctx)
		// The guest may have written to a directory of the daemon's own. Without a container there
		// is nothing.
		_ = e.sweep(cleanup, s.Name, home, s.Image)
		cancel()
		w, err = try(modeExec)
	}
	if err != nil {
		cleanup, cancel := cleanupContext(ctx)
		defer cancel()
		return keyway.Workspace{}, errors.Join(err, e.removeHome(cleanup, s.Name, home, s.Image))
	}
	if why != "" {
		report(keyway.Progress{Message: "connections go through " + d.Title() + " itself, because " + why})
	}
	return w, nil
}

// noReadOnly refuses a read-only container on a Podman where the Home is in a volume: Podman 4
// copies no files into the volumes of such a container.
func noReadOnly() error {
	return keyway.Errorf(keyway.Usage, "a Podman on another machine, or behind a socket of one, cannot make the file system of a workspace read-only").
		Advise(keyway.NotReadOnly, keyway.EnginePodman)
}

// cleanupTimeout bounds the time to remove a workspace that failed.
const cleanupTimeout = 30 * time.Second

// cleanupContext returns a context for cleaning up after ctx has ended.
func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
}

// try makes and starts the container and waits for its guest. If that fails, neither the container nor a volume
// that was made for it is left: the next try, with another mode or GPU, would take the volume for a user's.
func (e *Engine) try(ctx context.Context, o order, mode string) (w keyway.Workspace, err error) {
	if err := ctx.Err(); err != nil {
		return w, err
	}
	s := o.spec
	fresh, err := e.fresh(ctx, s)
	if err != nil {
		return w, err
	}
	id := ""
	defer func() {
		if err == nil {
			return
		}
		cleanup, cancel := cleanupContext(ctx)
		defer cancel()
		if id != "" {
			err = errors.Join(err, e.removeContainer(cleanup, id))
		}
		e.removeFresh(cleanup, fresh)
	}()
	id, warnings, err := e.claim(ctx, s, mode, o.gpus)
	if err != nil {
		return w, err
	}
	if err := discarded(e.client.Known(), s.Resources, warnings); err != nil {
		return w, err
	}
	m, err := e.furnish(ctx, made{id: id, mode: mode, home: e.homes.Home(s.Name), spec: s, gpus: o.gpus.grant.UUIDs()}, o.image, e.names(fresh))
	if err == nil {
		err = e.furnishVolumes(ctx, m, o.image, fresh)
	}
	if err != nil {
		return w, e.refusal(ctx, s, err)
	}
	info, err := e.serve(ctx, m, o.gpus.grant)
	if err != nil {
		return w, err
	}
	return e.workspace(m, keyway.Running, "", info, time.Now()), nil
}

// furnish puts into a container that was never started the files that its guest needs, and records
// which container it is, and which volumes are made with it.
func (e *Engine) furnish(ctx context.Context, m made, image images.Facts, fresh []string) (made, error) {
	var err error
	switch {
	case m.mode == modeExec:
		err = e.copyIn(ctx, m.id, m.spec, e.homeArchive)
	case !image.RunsAsRoot(m.spec.User):
		err = e.copyIn(ctx, m.id, m.spec, dataArchive)
	}
	if err != nil {
		return m, err
	}
	data, err := e.dataSource(ctx, m)
	if err != nil {
		return m, err
	}
	if err := e.homes.Revise(m.spec.Name, func(r *engine.Record) { r.Container, r.Data, r.Fresh = m.id, data, fresh }); err != nil {
		return m, err
	}
	m.rec, err = e.homes.Record(m.spec.Name)
	return m, err
}

// dataSource returns the path at which this machine may find the volume of Home.Data. It is empty
// if there is no such volume or the daemon is on another machine.
func (e *Engine) dataSource(ctx context.Context, m made) (string, error) {
	if m.mode != modeBind || !e.client.Local() {
		return "", nil
	}
	c, err := e.client.ContainerInspect(ctx, m.id, client.ContainerInspectOptions{})
	if err != nil {
		return "", err
	}
	for _, mount := range c.Container.Mounts {
		if mount.Destination == keyway.GuestHome.Data() && filepath.IsAbs(mount.Source) {
			return mount.Source, nil
		}
	}
	return "", nil
}

// launch starts a stopped container and writes the guest's host key to the standard input of its
// first process. That process reads it before it starts anything, and then closes the input. A
// container that is started by other means has no guest.
//
// A container with GPUs gets the key once their leases name its first process. If this program dies
// before that, the container ends without a guest, and the GPUs are free.
func (e *Engine) launch(ctx context.Context, m made, grant *gpu.Grant) error {
	give, detach, err := e.attach(ctx, m)
	var late unattached
	if errors.As(err, &late) && ctx.Err() == nil {
		give, detach, err = e.attachLate(ctx, m)
	} else if err == nil {
		_, err = e.client.ContainerStart(ctx, m.id, client.ContainerStartOptions{})
	}
	if detach != nil {
		defer detach()
	}
	if err != nil {
		return err
	}
	if err := e.bind(ctx, m.id, grant); err != nil {
		return err
	}
	_ = give() // fails if the process has ended; await reports why
	return nil
}

// serve starts a new container. It returns when its guest serves and has been checked to have the
// GPUs that it was given.
func (e *Engine) serve(ctx context.Context, m made, grant *gpu.Grant) (keyway.GuestInfo, error) {
	if err := e.launch(ctx, m, grant); err != nil {
		return keyway.GuestInfo{}, e.refusal(ctx, m.spec, err)
	}
	// For the check, the daemon starts a process in the container. Meanwhile the guest begins to
	// serve.
	var wrong error
	var verified sync.WaitGroup
	verified.Go(func() { wrong = e.verify(ctx, m, grant) })
	info, err := e.await(ctx, m)
	verified.Wait()
	return info, cmp.Or(err, wrong)
}

// handKey writes the host key to the standard input of the first process of a running container. A
// process that has a key reads no other.
func (e *Engine) handKey(ctx context.Context, m made) error {
	give, detach, err := e.attach(ctx, m)
	if err != nil {
		return err
	}
	defer detach()
	return give()
}

// attach returns a function that gives the container's first process its host key, and one that
// ends the connection for that.
func (e *Engine) attach(ctx context.Context, m made) (give func() error, detach func(), err error) {
	if m.rec.HostKey == "" {
		return func() error { return nil }, func() {}, nil
	}
	key, err := m.homes().HostKey(m.spec.Name)
	if err != nil {
		return nil, nil, err
	}
	stdin, err := e.client.ContainerAttach(ctx, m.id, client.ContainerAttachOptions{Stream: true, Stdin: true})
	if err != nil {
		return nil, nil, unattached{err}
	}
	give = func() error {
		_, err := stdin.Conn.Write(key)
		return err
	}
	return give, stdin.Close, nil
}

// unattached means that the daemon did not attach.
type unattached struct{ error }

func (u unattached) Unwrap() error { return u.error }

// attachLate starts a container first and then attaches. Podman sets the container up before it
// attaches, and if that fails, reports no reason; asked to start the container, it does. It also
// fails to attach while it cleans up after the container's last run, which is no reason to give up.
func (e *Engine) attachLate(ctx context.Context, m made) (give func() error, detach func(), err error) {
	if _, err := e.client.ContainerStart(ctx, m.id, client.ContainerStartOptions{}); err != nil {
		return nil, nil, err
	}
	give, detach, err = e.attach(ctx, m)
	if err != nil {
		_, _ = e.client.ContainerKill(ctx, m.id, client.ContainerKillOptions{Signal: "KILL"}) // it has no host key
	}
	return give, detach, err
}

// claimTimeout bounds the time in which a daemon makes a container. It copies nothing for that, but
// may be busy.
const claimTimeout = time.Minute

// claim makes the container, and thereby claims its name. It does not stop when ctx ends: a daemon
// may continue with a request whose client has gone, and the container would then appear after the
// cleanup.
func (e *Engine) claim(ctx context.Context, s keyway.Spec, mode string, gpus gpuOrder) (id string, warnings []string, err error) {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimTimeout)
	defer cancel()
	plan, err := e.plan(s, mode, gpus)
	if err != nil {
		return "", nil, err
	}
	if byLibpod(e.client.Known(), s) {
		id, warnings, err = e.createByLibpod(whole, plan, gpus.cdiNames())
	} else {
		made, failed := e.client.ContainerCreate(whole, plan)
		id, warnings, err = made.ID, made.Warnings, failed
	}
	if err != nil {
		return "", nil, e.refusal(ctx, s, err)
	}
	return id, warnings, nil
}

// await waits until the guest serves, or the container has ended.
func (e *Engine) await(ctx context.Context, m made) (keyway.GuestInfo, error) {
	started := time.Now()
	handed := started
	alive := func(ctx context.Context) error {
		if err := e.runs(ctx, m.id, len(m.spec.Command) > 0); err != nil || time.Since(handed) < handAgainAfter {
			return err
		}
		handed = time.Now()
		_ = e.handKey(ctx, m) // if that fails, the guest stays silent
		return nil
	}
	here := func(ctx context.Context) error {
		if err := alive(ctx); err != nil || time.Since(started) < traceAfter || hasTrace(m.home) {
			return err
		}
		return errRemoteDaemon
	}
	var info keyway.GuestInfo
	var err error
	if m.mode == modeBind {
		info, err = engine.Await(ctx, m.home, here)
	} else {
		info, err = e.in(m).Await(ctx, alive)
	}
	if ctx.Err() != nil {
		return info, ctx.Err()
	}
	var ended endedError
	if errors.As(err, &ended) || errors.Is(err, engine.ErrGuestSilent) {
		return info, e.guestFailed(ctx, m, err)
	}
	return info, err
}

// handAgainAfter is the time after which a silent guest gets its host key again; it waits a minute
// for it. A container that is restarted right after its end has lost the first one: seen once, with
// a rootless Podman.
const handAgainAfter = 5 * time.Second

// traceAfter is the time in which a running first process leaves a trace in its Home. It does so
// before anything else.
const traceAfter = 2 * time.Second

// hasTrace reports whether the container's Home is the one at this place. It is not if the daemon
// has another directory at that path, on its own machine or in its own mount namespace. Podman even
// makes one if there is none.
func hasTrace(home keyway.Home) bool {
	_, err := os.Lstat(filepath.Join(string(home), "init.lock"))
	return err == nil
}

// endedError means that a container that should run does not.
type endedError struct{ reason string }

func (e endedError) Error() string { return "the container " + e.reason }

func (e *Engine) runs(ctx context.Context, id string, command bool) error {
	c, err := e.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if daemon.IsNotFound(err) {
		return endedError{"was removed from outside"}
	}
	if err != nil {
		return e.client.Explain(ctx, err)
	}
	if st := c.Container.State; st != nil && !st.Running {
		return endedError{daemon.ExitReason(st, command)}
	}
	return nil
}

func (e *Engine) guestFailed(ctx context.Context, m made, err error) error {
	words := e.client.LastWords(ctx, m.id)
	if err := inside.TooFewProcesses(m.spec, words); err != nil {
		return err
	}
	if words == "" {
		words = "(no output)"
	}
	return keyway.Errorf(keyway.GuestFailed, "the workspace %s did not come up: %w; its last output:\n%s", m.spec.Name, err, words).
		Hint("try the image by hand at the place: %s run --rm -it %s", e.Name(), m.spec.Image)
}
