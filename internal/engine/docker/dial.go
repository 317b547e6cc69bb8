package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
	"keyway/internal/sleep"
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
		return nil, notRunning(m, st)
	}
	conn, err := e.dial(ctx, m)
	if err != nil {
		return nil, e.dialFailed(ctx, name, err)
	}
	return conn, nil
}

func notRunning(m made, st *container.State) error {
	if st.Paused {
		return engine.NotRunning(m.spec.Name, "it is paused")
	}
	return engine.NotRunning(m.spec.Name, exitReason(st, len(m.spec.Command) > 0))
}

func (e *Engine) dialFailed(ctx context.Context, name keyway.Name, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return engine.Unanswered(name, err)
	case daemon.IsConflict(err): // it ended since it was looked at
		return engine.NotRunning(name, "it has just ended")
	}
	return e.client.Explain(ctx, err)
}

// dial connects to the guest by the workspace's mode.
func (e *Engine) dial(ctx context.Context, m made) (net.Conn, error) {
	if m.mode == modeBind {
		return engine.Dial(ctx, m.home)
	}
	return e.execGuest(ctx, m.id, "dial")
}

// execGuest runs a command of the guest program in the container.
func (e *Engine) execGuest(ctx context.Context, id, command string) (*daemon.ExecConn, error) {
	return e.client.Exec(ctx, id, keyway.GuestHome.Program(), command, "--home", string(keyway.GuestHome))
}

// infoByExec is what the guest says of itself; it waits some seconds for it.
func (e *Engine) infoByExec(ctx context.Context, m made) (keyway.GuestInfo, error) {
	conn, err := e.execGuest(ctx, m.id, "info")
	if err != nil {
		return keyway.GuestInfo{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	info, err := keyway.DecodeInfo(conn)
	if ctx.Err() != nil {
		return info, ctx.Err()
	}
	return info, err
}

// execTimeout is how long a guest that is reached by exec may take to serve.
const execTimeout = 30 * time.Second

// awaitByExec waits until the guest serves, asking it in the container.
func (e *Engine) awaitByExec(ctx context.Context, m made, alive func(context.Context) error) (keyway.GuestInfo, error) {
	deadline := time.Now().Add(execTimeout)
	for {
		info, err := e.infoByExec(ctx, m)
		if err == nil {
			err = e.greetsSoon(ctx, m)
		}
		if err == nil {
			return info, nil
		}
		if ctx.Err() != nil {
			return info, ctx.Err()
		}
		if err := alive(ctx); err != nil {
			return info, err
		}
		if time.Now().After(deadline) {
			return info, fmt.Errorf("%w: %w", engine.ErrGuestSilent, err)
		}
		if err := sleep.For(ctx, gonePoll); err != nil {
			return info, err
		}
	}
}

func (e *Engine) greetsSoon(ctx context.Context, m made) error {
	ctx, cancel := context.WithTimeout(ctx, engine.Answer)
	defer cancel()
	return e.greets(ctx, m)
}

// copyIn puts an archive into the container's volumes.
func (e *Engine) copyIn(ctx context.Context, id string, s keyway.Spec, archive func(keyway.Spec) ([]byte, error)) error {
	data, err := archive(s)
	if err != nil {
		return err
	}
	if !s.ReadOnly {
		return e.extract(ctx, id, data)
	}
	// Daemons refuse to copy to "/" of a read-only container, and only from there
	// can the volume's own directory be opened to all. So another container that
	// has the same volumes, and is never started, takes the files.
	return e.throughHelper(ctx, s, &container.HostConfig{VolumesFrom: []string{id}}, data)
}

// throughHelper puts an archive into the volumes of a container that is made for it, and
// is never started.
func (e *Engine) throughHelper(ctx context.Context, s keyway.Spec, volumes *container.HostConfig, data []byte) error {
	helper, err := e.help(ctx, s.Name, client.ContainerCreateOptions{
		Config:     &container.Config{Image: s.Image, Entrypoint: []string{keyway.GuestHome.Program()}},
		HostConfig: volumes,
	})
	if err != nil {
		return err
	}
	err = e.extract(ctx, helper, data)
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	_, removeErr := e.client.ContainerRemove(cleanup, helper, client.ContainerRemoveOptions{Force: true})
	return errors.Join(err, removeErr)
}

func (e *Engine) extract(ctx context.Context, id string, archive []byte) error {
	_, err := e.client.CopyToContainer(ctx, id, client.CopyToContainerOptions{
		DestinationPath: "/", Content: bytes.NewReader(archive), AllowOverwriteDirWithFile: true,
	})
	return err
}

// openMode is that of a directory in which any user may make files and none may
// replace another's. The guest may be any uid; see engine.Homes.
const openMode = 0o1777

// dataArchive is Home.Data as a guest other than root shall find it.
func dataArchive(keyway.Spec) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := writeDir(w, strings.TrimPrefix(keyway.GuestHome.Data(), "/"), openMode)
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}

// BringKeys puts the file of those who may enter into a workspace that does not see
// its Home at the place.
func (e *Engine) BringKeys(ctx context.Context, name keyway.Name, file []byte) error {
	m, _, err := e.find(ctx, name)
	if err != nil || m.mode == modeBind {
		return err
	}
	return e.copyIn(ctx, m.id, m.spec, func(keyway.Spec) ([]byte, error) {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		err := writeFile(w, strings.TrimPrefix(keyway.GuestHome.AuthorizedKeys(), "/"), 0o644, file)
		return out.Bytes(), errors.Join(err, w.Close())
	})
}

// homeArchive is the Home as the container shall find it.
func (e *Engine) homeArchive(s keyway.Spec) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	home := strings.TrimPrefix(string(keyway.GuestHome), "/")
	bin := path.Join(home, path.Base(keyway.GuestHome.Bin()))
	keys := []byte(strings.Join(s.AuthorizedKeys, "\n") + "\n")
	entries, err := os.ReadDir(e.guest.Dir)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		writeDir(w, home, openMode), writeDir(w, bin, 0o755),
		writeFile(w, path.Join(home, path.Base(keyway.GuestHome.AuthorizedKeys())), 0o644, keys))
	for _, entry := range entries {
		if err == nil {
			err = writeEntry(w, filepath.Join(e.guest.Dir, entry.Name()), path.Join(bin, entry.Name()))
		}
	}
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}

func writeEntry(w *tar.Writer, from, to string) error {
	if target, err := os.Readlink(from); err == nil {
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: to, Linkname: target, Mode: 0o777})
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeFile(w, to, 0o755, data)
}

func writeDir(w *tar.Writer, name string, mode int64) error {
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode})
}

func writeFile(w *tar.Writer, name string, mode int64, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := io.Copy(w, bytes.NewReader(data))
	return err
}
