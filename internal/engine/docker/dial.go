package docker

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/beside"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/inside"
	"keyway/internal/keyway"
)

// Dial implements engine.Engine.
func (e *Engine) Dial(ctx context.Context, name keyway.Name) (net.Conn, error) {
	// The usual case needs no daemon.
	if s, err := e.homes.Spec(name); err == nil && s.Engine == e.Name() {
		if conn, err := engine.Dial(ctx, e.homes.Home(name)); err == nil {
			if !engine.Frozen(conn) {
				return conn, nil
			}
			conn.Close()
		}
	}
	m, st, err := e.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if !st.Running || st.Paused {
		return nil, e.notRunning(m, st)
	}
	if m.rec.Adopted && e.beside().Gone(ctx, m.rec) {
		return nil, engine.NotRunning(name, besideNothing)
	}
	conn, err := e.dial(ctx, m)
	if err != nil && ctx.Err() == nil && e.waitsForKey(ctx, m, err) {
		return nil, engine.NotRunning(name, startedOutside)
	}
	if err != nil {
		return nil, e.dialFailed(ctx, name, err)
	}
	return conn, nil
}

func (e *Engine) notRunning(m made, st *container.State) error {
	switch {
	case m.rec.Adopted:
		return engine.NotRunning(m.spec.Name, "its container "+beside.DoesNotRun(st))
	case st.Paused:
		return engine.NotRunning(m.spec.Name, "it is paused")
	case halfMade(st) && !e.underWay(m.spec.Name):
		return engine.IsHalfMade(m.spec.Name)
	}
	return engine.NotRunning(m.spec.Name, daemon.ExitReason(st, len(m.spec.Command) > 0))
}

func (e *Engine) dialFailed(ctx context.Context, name keyway.Name, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return engine.Unanswered(name, err)
	case daemon.IsConflict(err): // it has ended since it was inspected
		return engine.NotRunning(name, "it has just ended")
	}
	return e.client.Explain(ctx, err)
}

// dial connects to the guest in the workspace's mode.
func (e *Engine) dial(ctx context.Context, m made) (net.Conn, error) {
	if m.mode == modeBind {
		return engine.Dial(ctx, m.home)
	}
	return e.in(m).Dial(ctx)
}

// at returns the container with that ID.
func (e *Engine) at(id string) inside.Container { return inside.Container{Client: e.client, ID: id} }

// in returns the workspace's container, with the user that the guest runs as.
func (e *Engine) in(m made) inside.Container {
	c := e.at(m.id)
	if m.rec.Adopted { // otherwise it is the container's own user
		c.User = m.spec.User
	}
	return c
}

// copyIn copies an archive to the container's volumes.
func (e *Engine) copyIn(ctx context.Context, id string, s keyway.Spec, archive func(keyway.Spec) ([]byte, error)) error {
	data, err := archive(s)
	if err != nil {
		return err
	}
	if !s.ReadOnly {
		return e.at(id).Extract(ctx, data)
	}
	// Daemons refuse to copy to "/" of a read-only container, and only from there can the volume's
	// own directory be opened to all users. So the files go through another container with the same
	// volumes, which is never started.
	return e.throughHelper(ctx, s, &container.HostConfig{VolumesFrom: []string{id}}, data)
}

// throughHelper copies an archive to the volumes of a container that is made for it and never
// started.
func (e *Engine) throughHelper(ctx context.Context, s keyway.Spec, volumes *container.HostConfig, data []byte) error {
	helper, err := e.help(ctx, s.Name, client.ContainerCreateOptions{
		Config:     &container.Config{Image: s.Image, Entrypoint: []string{keyway.GuestHome.Program()}},
		HostConfig: volumes,
	})
	if err != nil {
		return err
	}
	err = e.at(helper).Extract(ctx, data)
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	_, removeErr := e.client.ContainerRemove(cleanup, helper, client.ContainerRemoveOptions{Force: true})
	return errors.Join(err, removeErr)
}

// homeArchive returns the files of the Home for a container.
func (e *Engine) homeArchive(s keyway.Spec) ([]byte, error) {
	return inside.HomeArchive(e.guest, []byte(strings.Join(s.AuthorizedKeys, "\n")+"\n"))
}

func dataArchive(keyway.Spec) ([]byte, error) { return inside.DataArchive() }

// BringKeys copies the file of the keys that may enter to a workspace that does not see its Home at
// the place.
func (e *Engine) BringKeys(ctx context.Context, name keyway.Name, file []byte) error {
	m, _, err := e.find(ctx, name)
	if err != nil || m.mode == modeBind {
		return err
	}
	return e.copyIn(ctx, m.id, m.spec, func(keyway.Spec) ([]byte, error) {
		return inside.Archive(inside.File{Path: keyway.GuestHome.AuthorizedKeys(), Data: file})
	})
}
