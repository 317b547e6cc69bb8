package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"keyway/internal/keyway"
)

// maxSocketPath is the longest path of a socket, in bytes, for a program that takes it from
// SSH_AUTH_SOCK (unix(7): sun_path has 108 bytes).
const maxSocketPath = 107

// inner returns the name by which the processes of a workspace know their Home: its path, or a
// short symbolic link to it if the path of the agent's socket would be too long for ssh. If a
// cleanup has removed the link, it is made again.
func (e *Engine) inner(home keyway.Home) (keyway.Home, error) {
	if len(home.AgentSocket()) <= maxSocketPath || e.short == nil {
		return home, nil
	}
	dir, err := e.short()
	if err != nil {
		return home, err
	}
	link := shortName(dir, home)
	if target, err := os.Readlink(link); err == nil && target == string(home) {
		return keyway.Home(link), nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return home, err
	}
	err = os.Symlink(string(home), link)
	if errors.Is(err, fs.ErrExist) { // another node was faster
		err = nil
	}
	return keyway.Home(link), err
}

// shortName returns the path of the link to home in dir.
func shortName(dir string, home keyway.Home) string {
	sum := sha256.Sum256([]byte(home))
	return filepath.Join(dir, "home-"+hex.EncodeToString(sum[:8]))
}

// home returns the path of the workspace's Home.
func (e *Engine) home(name keyway.Name) keyway.Home {
	home := e.homes.Home(name)
	_, _ = e.inner(home) // the next start reports a link that cannot be made now
	if _, err := os.Lstat(string(home)); errors.Is(err, fs.ErrNotExist) {
		e.forgetShort(home) // the Home was removed meanwhile, before the link was made
	}
	return home
}

// forgetShort removes the short name of a Home, if it has one.
func (e *Engine) forgetShort(home keyway.Home) {
	if e.short == nil {
		return
	}
	if dir, err := e.short(); err == nil {
		_ = os.Remove(shortName(dir, home))
	}
}

// isNamed reports whether a process whose Home is called name belongs to the workspace with that
// Home.
func isNamed(name string, home keyway.Home) bool {
	if name == string(home) {
		return true
	}
	target, err := os.Readlink(name)
	return err == nil && target == string(home)
}
