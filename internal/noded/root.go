package noded

import (
	"crypto/rand"
	"os"
	"path/filepath"

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// nodeRoot is where workspaces have their files: the state directory, or a directory of
// this machine where the home directory is read-only or holds no sockets, as some network
// file systems do not.
func nodeRoot() (string, error) {
	root, err := dirs.State()
	if err == nil {
		err = usable(root)
	}
	if err == nil || keyway.Is(err, keyway.NoSpace) {
		return root, nil // a full disk is told by whatever needs it; removing still works
	}
	for _, other := range otherRoots() {
		if usable(other) == nil {
			return other, nil
		}
	}
	return "", err
}

// otherRoots are the directories beside the state directory, best first. An older keyway
// took the runtime directory, and its workspaces stay there.
func otherRoots() []string {
	var roots []string
	if runtime, err := dirs.Runtime(); err == nil {
		roots = append(roots, runtime)
	}
	machine, err := dirs.Machine()
	if err != nil {
		return roots
	}
	if len(roots) > 0 && exists(filepath.Join(roots[0], "workspaces")) {
		return append(roots, machine)
	}
	return append([]string{machine}, roots...)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// usable reports what keeps a directory from holding files and sockets.
func usable(dir string) error {
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return keyway.Errorf(keyway.BadConfig, "%s cannot be written to: %w", dir, err)
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	path := filepath.Join(dir, ".socket-"+rand.Text())
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		return keyway.Errorf(keyway.BadConfig, "%s cannot hold a socket: %w", dir, err)
	}
	l.Close()
	return os.Remove(path)
}

// guestRoot is where the guest program is put: root, or else a directory that programs
// can be run from.
func guestRoot(root string) string {
	if !isNoexec(root) {
		return root
	}
	for _, dir := range otherRoots() {
		if !isNoexec(dir) {
			return dir
		}
	}
	return root // containers can do with it
}
