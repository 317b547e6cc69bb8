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

// which returns the identity of the daemon that has given this answer. A daemon is identified by
// the directory of its containers, which no other daemon of the machine has. Docker also has an ID,
// which distinguishes daemons of different machines; up to version 24, all daemons of root on one
// machine share it. Podman makes up a new ID for each answer, so that is omitted.
func (e *Engine) which(said system.Info) engine.Daemon {
	id := said.DockerRootDir
	if !e.client.Known().Podman {
		id += " " + said.ID
	}
	return engine.Daemon{ID: id, At: e.client.Address()}
}

// note records the daemon that will have the workspace and the place's choices for it, before
// anything is made there.
func (e *Engine) note(name keyway.Name, said system.Info, by *engine.Chosen) error {
	return e.homes.Revise(name, func(r *engine.Record) { r.Daemon, r.Chosen = e.which(said), by })
}

// mine refuses a workspace of another daemon, and one whose Record cannot be read or is another
// machine's: that this daemon has no container of that name proves nothing about it.
func (e *Engine) mine(ctx context.Context, name keyway.Name) error {
	rec, err := e.homes.Known(name)
	if err != nil || rec.Daemon.ID == "" || rec.Spec.Engine != e.Name() {
		return err
	}
	here, err := e.Which(ctx)
	if err != nil {
		return err
	}
	return e.homes.Refuse(rec, here)
}
