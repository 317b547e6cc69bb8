//go:build linux

package guest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// prepareHome makes the guest's own files in its Home. The first process calls it before
// any program of the image runs, so that no other user can have made them first.
func prepareHome(home keyway.Home) error {
	// The file of an earlier life is stale; it must not count as ready.
	if err := os.Remove(home.Info()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Mkdir(home.Data(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if home != keyway.GuestHome {
		moveOld(home)
	}
	return ownDir(home.Sessions())
}

// moveOld moves files that an older keyway kept beside Data for plain processes.
func moveOld(home keyway.Home) {
	for _, path := range []string{home.Sessions(), home.UserHome()} {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			_ = os.Rename(filepath.Join(string(home), filepath.Base(path)), path)
		}
	}
}

// ownDir makes a directory that only this user can enter. If there is one, it checks that
// it is this user's and removes the permissions of others.
func ownDir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !st.IsDir() || ownerOf(st) != uint32(os.Getuid()) {
		return fmt.Errorf("%s is not a directory of this workspace's user (uid %d): remove it, or make the workspace again", path, os.Getuid())
	}
	return os.Chmod(path, 0o700)
}

// listenReplacing binds a socket under a random name beside path and renames it to path, so that
// there is always a socket at path while an old one is replaced. No other file can have the random
// name.
func listenReplacing(path string, perm fs.FileMode) (*net.UnixListener, error) {
	beside := filepath.Join(filepath.Dir(path), "."+rand.Text())
	l, err := unixsock.Listen(beside, perm)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(beside, path); err != nil {
		l.Close()
		return nil, errors.Join(err, os.Remove(beside))
	}
	return l, nil
}

// sockets are the workspace's listening sockets. The first process binds them once, and
// every server inherits them. Callers wait while a server is started again, instead of
// being refused, and no other user can bind in its place.
type sockets struct {
	ssh, agent *os.File
	tcp        *os.File // only of a baked image; nil: none
}

// bindSockets binds both. Every user in the workspace may connect to the first; the server
// checks the uid.
func bindSockets(home keyway.Home) (sockets, error) {
	ssh, err := bindFile(home.Socket(), 0o666)
	if err != nil {
		return sockets{}, err
	}
	agent, err := bindFile(home.AgentSocket(), 0o600)
	if err != nil {
		ssh.Close()
		return sockets{}, err
	}
	return sockets{ssh: ssh, agent: agent}, nil
}

// bindFile binds path and returns the descriptor. It closes Go's listener; otherwise this
// process would wake up for every caller of the server.
func bindFile(path string, perm fs.FileMode) (*os.File, error) {
	l, err := listenReplacing(path, perm)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.File()
}

func (s sockets) Close() error { return errors.Join(s.ssh.Close(), s.agent.Close()) }
