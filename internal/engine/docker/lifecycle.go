package docker

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/inside"
	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// find returns the workspace's container and its state.
func (e *Engine) find(ctx context.Context, name keyway.Name) (made, *container.State, error) {
	if _, err := e.client.Identify(ctx); err != nil {
		return made{}, nil, err
	}
	if rec, ok := e.isAdopted(name); ok {
		return e.findAdopted(ctx, rec)
	}
	m, c, err := e.inspect(ctx, name)
	return m, c.State, err
}

// inspect returns the container of a workspace that was not adopted, with the daemon's description
// of it. Config and State are not nil.
func (e *Engine) inspect(ctx context.Context, name keyway.Name) (made, container.InspectResponse, error) {
	found, err := e.client.ContainerInspect(ctx, e.container(name), client.ContainerInspectOptions{})
	if id := e.recorded(name); id != "" && daemon.IsNotFound(err) { // it may have been renamed
		found, err = e.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	}
	c := found.Container
	if daemon.IsNotFound(err) {
		return made{}, c, cmp.Or(e.mine(ctx, name), error(engine.NotFound(name)))
	}
	if err != nil {
		return made{}, c, e.client.Explain(ctx, err)
	}
	if c.Config == nil || c.State == nil {
		return made{}, c, keyway.Errorf(keyway.Other, "the daemon's description of the container %s is incomplete", c.Name)
	}
	m, err := e.parseLabels(c.ID, c.Name, c.Config.Labels)
	if err != nil {
		return made{}, c, engine.NotFound(name)
	}
	m.image = c.Image
	e.recall(&m, c.Config.Labels)
	return m, c, e.homes.Mistaken(ctx, m.rec, name, e)
}

// Stop implements engine.Engine.
func (e *Engine) Stop(ctx context.Context, name keyway.Name, grace time.Duration) error {
	if grace == 0 {
		e.hurry(ctx, name)
	}
	unlock, err := e.homes.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	m, st, err := e.find(ctx, name)
	if err != nil {
		return err
	}
	if m.rec.Adopted {
		return e.beside().Stop(ctx, m.rec, m.container, st, grace)
	}
	if st.Paused { // a paused container hears nothing until it is too late
		if _, err := e.client.ContainerUnpause(ctx, m.id, client.ContainerUnpauseOptions{}); err != nil {
			return e.client.Explain(ctx, err)
		}
	}
	if st.Running {
		if err := engine.GraceUntold(name, grace, e.sayGrace(ctx, m, grace)); err != nil {
			return err
		}
	}
	_, err = e.client.ContainerStop(ctx, m.id, client.ContainerStopOptions{Timeout: new(stopSeconds(grace))})
	if daemon.IsNotModified(err) {
		return nil
	}
	return e.client.Explain(ctx, err)
}

// sayGrace tells the guest the grace period for programs. If that fails, they get the default
// one.
func (e *Engine) sayGrace(ctx context.Context, m made, grace time.Duration) error {
	if m.mode == modeBind {
		return keyway.WriteFile(m.home.GraceFile(), keyway.GraceText(grace), 0o644)
	}
	archive, err := inside.Archive(inside.File{Path: keyway.GuestHome.GraceFile(), Data: keyway.GraceText(grace)})
	if err != nil {
		return err
	}
	return e.client.Explain(ctx, e.in(m).Extract(ctx, archive))
}

// hurry makes a guest that is being stopped kill the remaining processes. It does not wait for the
// Stop that is under way.
func (e *Engine) hurry(ctx context.Context, name keyway.Name) {
	m, st, err := e.find(ctx, name)
	if err != nil || !st.Running || st.Paused {
		return
	}
	if m.rec.Adopted {
		_ = e.beside().End(ctx, m.rec, 0) // Stop reports errors
		return
	}
	_ = e.sayGrace(ctx, m, 0)
	_, _ = e.client.ContainerKill(ctx, m.id, client.ContainerKillOptions{Signal: "TERM"})
}

// Start implements engine.Engine.
func (e *Engine) Start(ctx context.Context, name keyway.Name) error {
	unlock, err := e.homes.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	m, st, err := e.find(ctx, name)
	if err != nil {
		return err
	}
	switch {
	case m.rec.Adopted:
		if err := e.beside().Start(ctx, m.rec, m.container, st); err != nil {
			return err
		}
		e.claimGPUs(ctx, name)
		return nil
	case st.Paused:
		if _, err := e.client.ContainerUnpause(ctx, m.id, client.ContainerUnpauseOptions{}); err != nil {
			return e.client.Explain(ctx, err)
		}
	case halfMade(st): // files that it needs inside may be missing
		return engine.IsHalfMade(name)
	case !st.Running:
		if err := e.restart(ctx, m); err != nil {
			return err
		}
	case !e.answers(ctx, m): // it was started by other means, and its guest waits for its key
		if err := e.handKey(ctx, m); err != nil {
			return e.client.Explain(ctx, err)
		}
	}
	_, err = e.await(ctx, m)
	return err
}

// halfMade reports whether a node has not finished making the container: it was never started.
// After a start of the machine, Podman reports containers that ran before as created. The caller
// holds the name's lock; without it, the container may still be in the making.
func halfMade(st *container.State) bool {
	started, err := time.Parse(time.RFC3339Nano, st.StartedAt)
	return st.Status == container.StateCreated && err == nil && started.Year() <= 1
}

// underWay reports whether the workspace is being made or removed now.
func (e *Engine) underWay(name keyway.Name) bool {
	unlock, err := e.homes.TryLock(name)
	if err == nil {
		unlock()
	}
	return keyway.Is(err, keyway.NameTaken)
}

// answers reports whether the guest serves now.
func (e *Engine) answers(ctx context.Context, m made) bool {
	if m.mode == modeBind {
		return engine.Answers(ctx, m.home)
	}
	return e.in(m).Greets(ctx) == nil
}

func (e *Engine) restart(ctx context.Context, m made) error {
	if m.mode == modeBind {
		// Otherwise Await would take the last life's guest.json for this one's.
		if err := engine.Forget(m.home); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	grant, err := e.lendAgain(ctx, m)
	if err != nil {
		return err
	}
	defer grant.Close()
	err = e.refusal(ctx, m.spec, e.launch(ctx, m, grant))
	if errors.Is(err, errRemoteDaemon) {
		return keyway.Errorf(keyway.GuestFailed, "the workspace's files at the place are gone (%s or %s)", m.home, e.guest.Dir).
			Advise(keyway.RemoveLost, string(m.spec.Name))
	}
	if err != nil || grant == nil {
		return err
	}
	if _, err := e.await(ctx, m); err != nil {
		return err
	}
	if err := e.verify(ctx, m, grant); err != nil {
		_, _ = e.client.ContainerKill(ctx, m.id, client.ContainerKillOptions{Signal: "KILL"})
		return err
	}
	return nil
}

// Remove implements engine.Engine.
func (e *Engine) Remove(ctx context.Context, name keyway.Name) error {
	unlock, err := e.homes.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	m, st, err := e.find(ctx, name)
	if keyway.Is(err, keyway.NotFound) {
		return e.removeRest(ctx, name, err)
	}
	if err != nil {
		return err
	}
	if m.rec.Adopted {
		return e.beside().Remove(ctx, m.rec, m.container, st)
	}
	if err := e.removeContainer(ctx, m.id); err != nil {
		return err
	}
	if err := e.removeHelper(ctx, name); err != nil {
		return err
	}
	image := m.image
	if image == "" {
		image = m.spec.Image
	}
	return e.removeHome(ctx, name, m.home, image)
}

// removeRest removes the Home of a workspace whose container was removed without keyway. The Record
// must prove that: no lookup that failed does, and a container may have been renamed. If there is
// no Home of this engine, or an adopted container is there after all, it returns other.
func (e *Engine) removeRest(ctx context.Context, name keyway.Name, other error) error {
	rec, err := e.homes.Known(name)
	if err == nil && rec.Spec.Engine != e.Name() {
		return other
	}
	if err := cmp.Or(err, e.mine(ctx, name)); err != nil {
		return err
	}
	if rec.Container != "" {
		switch _, _, err := e.findAdopted(ctx, rec); {
		case err == nil && rec.Adopted:
			return other
		case err == nil:
			return engine.NameTaken(name)
		case !keyway.Is(err, keyway.NotFound):
			return err
		}
	}
	return errors.Join(e.removeHelper(ctx, name), e.removeHome(ctx, name, e.homes.Home(name), rec.Spec.Image))
}

// gonePoll is the interval at which a container that is being removed is looked for.
const gonePoll = 10 * time.Millisecond

// removeContainer ends and removes a container with its anonymous volumes. It returns when the
// daemon does not know it any more.
func (e *Engine) removeContainer(ctx context.Context, id string) error {
	if e.client.Known().Podman {
		// Podman, forced or not, first asks the processes to end and waits. A container that is
		// removed needs no orderly end; one that needs it was stopped before.
		_, _ = e.client.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "KILL"})
	}
	for {
		_, err := e.client.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case daemon.IsNotFound(err):
			return nil
		case daemon.IsConflict(err): // another process is removing it
		case err != nil:
			return e.client.Explain(ctx, err)
		}
		if err := sleep.For(ctx, gonePoll); err != nil {
			return err
		}
	}
}

// helperName returns the name of the temporary container that helps with the workspace. There is
// one at a time, because its maker holds the name's lock.
func (e *Engine) helperName(name keyway.Name) string {
	return "keyway-helper-" + e.owner + "-" + string(name)
}

// help makes a container that helps with the workspace. It first removes a helper that a killed
// node has left.
func (e *Engine) help(ctx context.Context, name keyway.Name, plan client.ContainerCreateOptions) (id string, err error) {
	if err := e.removeHelper(ctx, name); err != nil {
		return "", err
	}
	plan.Name = e.helperName(name)
	plan.Config.Labels = map[string]string{labelHelper: string(name), labelOwner: e.owner}
	plan.HostConfig.SecurityOpt = []string{noNewPrivileges}
	plan.HostConfig.CapDrop = needless
	made, err := e.client.ContainerCreate(ctx, plan)
	return made.ID, err
}

// removeHelper removes a helper that a killed node has left.
func (e *Engine) removeHelper(ctx context.Context, name keyway.Name) error {
	return e.removeContainer(ctx, e.helperName(name))
}

// removeHome removes a Home. Files of the workspace's root or other users are first removed by a
// temporary container of the same image: every user of the daemon may do that, without sudo.
func (e *Engine) removeHome(ctx context.Context, name keyway.Name, home keyway.Home, image string) error {
	homes := engine.HomesAbove(home)
	err := homes.Remove(name)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if sweepErr := e.sweep(ctx, name, home, image); sweepErr != nil {
		return keyway.Errorf(keyway.Other, "the workspace %s is gone, but files of other users are left in %s: %w", name, home, sweepErr).
			Hint("remove them: sudo rm -rf %s", home)
	}
	return homes.Remove(name)
}

func (e *Engine) sweep(ctx context.Context, name keyway.Name, home keyway.Home, image string) error {
	plan := client.ContainerCreateOptions{
		Config: &container.Config{
			Image:      image,
			User:       "0:0",
			Entrypoint: []string{keyway.GuestHome.Program(), "sweep", "--home", string(keyway.GuestHome)},
		},
		HostConfig: &container.HostConfig{
			NetworkMode:    network.NetworkNone,
			ReadonlyRootfs: true,
			Init:           new(false),
			Mounts: []mount.Mount{
				{Type: mount.TypeBind, Source: string(home), Target: string(keyway.GuestHome)},
				{Type: mount.TypeBind, Source: e.guest.Dir, Target: keyway.GuestHome.Bin(), ReadOnly: true},
			},
		},
	}
	id, err := e.help(ctx, name, plan)
	if err != nil {
		return e.client.Explain(ctx, err)
	}
	_, err = e.client.ContainerStart(ctx, id, client.ContainerStartOptions{})
	if err == nil {
		err = e.ended(ctx, id)
	}
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	return errors.Join(e.client.Explain(ctx, err), e.removeContainer(cleanup, id))
}

// ended waits until a container has ended, in whatever way.
func (e *Engine) ended(ctx context.Context, id string) error {
	for {
		c, err := e.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		if st := c.Container.State; st != nil && !st.Running && st.Status != container.StateCreated {
			if st.ExitCode != 0 {
				return keyway.Errorf(keyway.Other, "files of other users cannot be removed: %s", e.client.LastWords(ctx, id))
			}
			return nil
		}
		if err := sleep.For(ctx, gonePoll); err != nil {
			return err
		}
	}
}
