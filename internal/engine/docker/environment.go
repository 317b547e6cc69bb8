package docker

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"keyway/internal/engine/docker/chosen"
	"keyway/internal/engine/docker/contents"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

// Bounds on looking into containers, whose programs may answer anything.
const (
	// surveyTime bounds the time for one container.
	surveyTime = 30 * time.Second
	surveyors  = 8 // containers that are looked into at once
)

// Environments describes the environments of the workspaces, in that order; see keyway.Environment.
func (e *Engine) Environments(ctx context.Context, names []keyway.Name) ([]keyway.Environment, error) {
	if _, err := e.client.Identify(ctx); err != nil {
		return nil, err
	}
	said, err := e.client.Said(ctx)
	if err != nil {
		return nil, err
	}
	d := e.client.Known()
	if d.Rootless, err = e.client.Rootless(ctx, d, said); err != nil {
		return nil, e.client.Explain(ctx, err)
	}
	here := &found{host: said, daemon: d, images: map[[2]string]identified{}}
	all := make([]keyway.Environment, len(names))
	free := make(chan struct{}, surveyors)
	var looking sync.WaitGroup
	for i, name := range names {
		free <- struct{}{}
		looking.Go(func() {
			defer func() { <-free }()
			timed, cancel := context.WithTimeout(ctx, surveyTime)
			defer cancel()
			env, err := e.environment(timed, name, here)
			if err != nil && timed.Err() != nil && ctx.Err() == nil {
				err = keyway.Errorf(keyway.GuestFailed, "%s does not show its files within %v", name, surveyTime).Advise(keyway.MakeAnew, string(name))
			}
			env.Name, env.Error = name, keyway.AsError(err)
			all[i] = env
		})
	}
	looking.Wait()
	return all, ctx.Err()
}

// found is the data that all workspaces of one call share.
type found struct {
	host   system.Info
	daemon daemon.Identity
	mu     sync.Mutex
	images map[[2]string]identified // by reference and ID
}

type identified struct {
	keyway.ImageIdentity
	arch string
}

// identity returns the ID and digests of an image. It asks for them once.
func (e *Engine) identity(ctx context.Context, f *found, reference, image string) (identified, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := [2]string{reference, image}
	if known, ok := f.images[key]; ok {
		return known, nil
	}
	id, arch, err := e.Identity(ctx, reference, image)
	if err == nil {
		f.images[key] = identified{id, arch}
	}
	return identified{id, arch}, err
}

func (e *Engine) environment(ctx context.Context, name keyway.Name, f *found) (keyway.Environment, error) {
	if rec, ok := e.isAdopted(name); ok {
		if _, _, err := e.findAdopted(ctx, rec); err != nil {
			return keyway.Environment{}, err
		}
		return keyway.Environment{}, keyway.Errorf(keyway.Usage, "%s was adopted: the options of its container are not known here", name).
			Advise(keyway.MakeAnew, string(name))
	}
	m, c, err := e.inspect(ctx, name)
	if err != nil {
		return keyway.Environment{}, err
	}
	if !c.State.Running || c.State.Paused {
		return keyway.Environment{}, e.notRunning(m, c.State)
	}
	m.spec.Resources = contents.Limits(m.spec.Resources, c, f.daemon.Podman, defaultPids)
	env := chosen.Asked(m.spec, m.rec.Chosen, f.host, f.daemon)
	env.Engine, env.Guest, env.GPUs = e.Name(), c.Config.Labels[labelVersion], m.gpus
	image, err := e.identity(ctx, f, m.spec.Image, m.image)
	if err != nil {
		return env, err
	}
	env.Image, env.Arch = image.ImageIdentity, image.arch
	return env, e.survey(ctx, m, c, &env)
}

// survey finds the software that is installed in a container, and the changed files of its image.
// It asks the guest for the rest.
func (e *Engine) survey(ctx context.Context, m made, c container.InspectResponse, env *keyway.Environment) error {
	said, err := e.client.ContainerDiff(ctx, m.id, client.ContainerDiffOptions{})
	if err != nil {
		return e.client.Explain(ctx, err)
	}
	changes := contents.Compared(c, contents.Changes(said.Changes), e.client.Known().Podman)
	of := contents.Container{Image: m.image, Env: c.Config.Env, Changes: changes, Mounted: contents.Mounted(c), Homes: contents.Homes(c)}
	var unreached error // why the guest cannot be asked
	shown, err := e.contents.Of(of, func() (io.ReadWriteCloser, error) {
		conn, _, err := e.in(m).Start(ctx, "files")
		if err != nil {
			unreached = e.dialFailed(ctx, m.spec.Name, err)
			return nil, unreached
		}
		context.AfterFunc(ctx, func() { conn.Close() }) // ctx belongs to this container alone
		return conn, nil
	})
	switch {
	case unreached != nil:
		return unreached
	case err != nil:
		return keyway.Errorf(keyway.GuestFailed, "%s does not show its files: %w", m.spec.Name, err).
			Advise(keyway.MakeAnew, string(m.spec.Name))
	}
	env.Software, env.Files, env.MoreFiles, env.Accounts = shown.Software, shown.Files, shown.More, shown.Accounts
	return ctx.Err()
}
