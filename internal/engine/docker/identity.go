package docker

import (
	"context"

	"github.com/moby/moby/api/types/system"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// Which implements engine.Identified.
func (e *Engine) Which(ctx context.Context) (engine.Daemon, error) {
	said, err := e.client.Said(ctx)
	if err != nil {
		return engine.Daemon{}, err
	}
	return e.which(said), nil
}

// which is the daemon that has said this. Where a daemon keeps its containers is its own.
// Docker has an ID beside that, which tells it from one on another machine; up to 24 all
// of root's on a machine have the same. Podman invents one for each answer.
func (e *Engine) which(said system.Info) engine.Daemon {
	id := said.DockerRootDir
	if !e.client.Known().Podman {
		id += " " + said.ID
	}
	return engine.Daemon{ID: id, At: e.client.Address()}
}

// note remembers which daemon is to have the workspace, before that has anything of it.
func (e *Engine) note(name keyway.Name, said system.Info) error {
	return e.homes.Revise(name, func(r *engine.Record) { r.Daemon = e.which(said) })
}

// mine refuses what another daemon has: that this one has no container of that name says
// nothing about it.
func (e *Engine) mine(ctx context.Context, name keyway.Name) error {
	rec, err := e.homes.Record(name)
	if err != nil || rec.Daemon.ID == "" || rec.Spec.Engine != e.Name() {
		return nil
	}
	here, err := e.Which(ctx)
	if err != nil {
		return err
	}
	return e.homes.Refuse(rec, here)
}
