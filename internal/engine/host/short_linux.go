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

// maxSocketPath is how long the path of a socket may be, in bytes, for a program that
// takes it from SSH_AUTH_SOCK (unix(7): sun_path has 108 bytes).
const maxSocketPath = 107

// inner is the name by which the processes of a workspace know their Home: its path, or a
// short symbolic link to it where the agent's socket would have a path that ssh cannot
// take. The link is made again if something that cleans up has removed it.
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

// shortName is the link to home in dir.
func shortName(dir string, home keyway.Home) string {
	sum := sha256.Sum256([]byte(home))
	return filepath.Join(dir, "home-"+hex.EncodeToString(sum[:8]))
}

// home is where the workspace's Home is.
func (e *Engine) home(name keyway.Name) keyway.Home {
	home := e.homes.Home(name)
	_, _ = e.inner(home) // what cannot be made again now is told by the next start
	if _, err := os.Lstat(string(home)); errors.Is(err, fs.ErrNotExist) {
		e.forgetShort(home) // it was removed meanwhile, and the link before ours
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

// isNamed reports whether a process that has this for its Home is of the workspace whose
// Home home is.
func isNamed(name string, home keyway.Home) bool {
	if name == string(home) {
		return true
	}
	target, err := os.Readlink(name)
	return err == nil && target == string(home)
}
