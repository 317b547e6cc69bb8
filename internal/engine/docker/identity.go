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

// which returns the daemon that has said this. A daemon is identified by the directory of
// its containers, which no other daemon of the machine has. Docker has an ID beside that,
// which tells daemons of different machines apart; up to version 24, all daemons of root
// on one machine have the same ID. Podman makes up a new ID for each answer, which is
// left out.
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
