package docker

import (
	"context"
	"errors"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/beside"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

// beside returns the guests in containers that this engine has not made.
func (e *Engine) beside() *beside.Guests {
	return &beside.Guests{Client: e.client, Homes: e.homes, Guest: e.guest, Owner: e.owner}
}

// Containers returns the running containers that were not made as workspaces.
func (e *Engine) Containers(ctx context.Context) ([]keyway.Container, error) {
	if _, err := e.client.Identify(ctx); err != nil {
		return nil, err
	}
	return e.beside().List(ctx)
}

// Adopt makes a workspace of a running container that keyway has not made: it puts the guest beside
// the container's first process. If that fails or ctx ends, nothing is left.
func (e *Engine) Adopt(ctx context.Context, a keyway.Adoption, report func(keyway.Progress)) (keyway.Workspace, error) {
	if err := a.Validate(); err != nil {
		return keyway.Workspace{}, err
	}
	if _, err := e.client.Identify(ctx); err != nil {
		return keyway.Workspace{}, err
	}
	unlock, err := e.homes.TryLock(a.Name)
	if err != nil {
		return keyway.Workspace{}, err
	}
	defer unlock()
	if err := e.vacant(ctx, a.Name); err != nil {
		return keyway.Workspace{}, err
	}
	c, release, err := e.beside().Claim(ctx, a.Container)
	if err != nil {
		return keyway.Workspace{}, err
	}
	defer release()
	report(keyway.Progress{Message: "putting the guest beside the first process of " + beside.NameOf(c)})
	return e.adopt(ctx, a, c)
}

func (e *Engine) adopt(ctx context.Context, a keyway.Adoption, c container.InspectResponse) (w keyway.Workspace, err error) {
	s := a.Spec()
	s.Engine, s.Image = e.Name(), c.Config.Image[:min(len(c.Config.Image), keyway.MaxReference)]
	if _, err := e.homes.Make(s, e.guest); err != nil {
		return w, err
	}
	put := false
	defer func() {
		if err != nil {
			err = errors.Join(err, e.unadopt(ctx, s.Name, put))
		}
	}()
	err = e.homes.Revise(s.Name, func(r *engine.Record) { r.Adopted, r.Container = true, c.ID })
	if err == nil {
		var said system.Info
		if said, err = e.client.Said(ctx); err == nil {
			err = e.note(s.Name, said, nil)
		}
	}
	if err != nil {
		return w, err
	}
	m, _, err := e.find(ctx, s.Name)
	if err != nil {
		return w, err
	}
	put = true
	info, err := e.beside().Serve(ctx, m.rec, m.container)
	if err != nil {
		return w, err
	}
	e.claimGPUs(ctx, s.Name)
	return e.workspace(m, keyway.Running, "", info, m.rec.Created), nil
}

// unadopt removes everything that a failed adoption has made.
func (e *Engine) unadopt(ctx context.Context, name keyway.Name, put bool) error {
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	rec, err := e.homes.Record(name)
	switch {
	case put && err != nil: // the guest may live
		return err
	case put:
		_ = e.beside().Leave(cleanup, rec) // if the container has ended, so has the guest
	}
	return e.homes.Remove(name)
}

// isAdopted returns the Record of a workspace in a container that this engine has not made.
func (e *Engine) isAdopted(name keyway.Name) (engine.Record, bool) {
	rec, err := e.homes.Record(name)
	return rec, err == nil && rec.Adopted && rec.Spec.Engine == e.Name()
}

// adopted returns the Records of all workspaces that this engine has adopted.
func (e *Engine) adopted() []engine.Record {
	all, _ := e.homes.Adopted() // the node lists those that cannot be read
	return slices.DeleteFunc(all, func(rec engine.Record) bool { return rec.Spec.Engine != e.Name() })
}

// findAdopted finds the container of an adopted workspace by its ID: a new container of the same
// name is another one.
func (e *Engine) findAdopted(ctx context.Context, rec engine.Record) (made, *container.State, error) {
	name := rec.Spec.Name
	found, err := e.beside().Inspect(ctx, rec.Container)
	if daemon.IsNotFound(err) {
		if err := e.mine(ctx, name); err != nil {
			return made{}, nil, err
		}
		return made{}, nil, keyway.Errorf(keyway.NotFound, "the container that the workspace %s was in is gone, or was made again", name).
			Advise(keyway.RemoveRest, string(name))
	}
	if err != nil {
		return made{}, nil, e.client.Explain(ctx, err)
	}
	c := found.Container
	if c.State == nil || c.ID != rec.Container {
		return made{}, nil, keyway.Errorf(keyway.Other, "the daemon's description of the container %.80q is incomplete", c.Name)
	}
	s := rec.Spec
	s.GPUs = beside.GPUsOf(c)
	return made{
		id: c.ID, image: c.Image, mode: modeExec, home: e.homes.Home(name), spec: s, rec: rec, container: beside.NameOf(c),
	}, c.State, nil
}

// besideNothing is the reason for an adopted workspace whose container runs without its guest.
const besideNothing = "its guest does not run, while its container does"

// notHere reports whether findAdopted has seen that this daemon does not have the container.
func notHere(err error) bool {
	return keyway.Is(err, keyway.NotFound) || keyway.Is(err, keyway.Unreachable)
}

// describeAdopted describes an adopted workspace for List. It returns nil if its container is gone,
// or is another daemon's; the node reports that.
func (e *Engine) describeAdopted(ctx context.Context, rec engine.Record) *keyway.Workspace {
	m, st, err := e.findAdopted(ctx, rec)
	state, reason, info := keyway.Stopped, besideNothing, keyway.GuestInfo{}
	next := keyway.StartNow
	switch {
	case notHere(err):
		return nil
	case err != nil:
		m.spec, m.rec = rec.Spec, rec
		state, reason, next = keyway.Broken, keyway.AsError(err).Message, ""
	case st.Paused:
		state, reason, next = keyway.Broken, "its container is paused", ""
	case st.Dead:
		state, reason, next = keyway.Broken, "its container "+beside.DoesNotRun(st), keyway.RemoveRest
	case !st.Running:
		reason, next = "its container "+beside.DoesNotRun(st), ""
	case !e.beside().Gone(ctx, rec):
		state, reason, info = e.look(ctx, m)
		next = ""
	}
	w := e.workspace(m, state, reason, info, rec.Created)
	w.Sessions, w.Next = e.sessions(ctx, m, state), next
	return &w
}
