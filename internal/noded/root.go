package noded

import (
	"crypto/rand"
	"os"
	"path/filepath"

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// nodeRoot returns the directory for the files of workspaces: the state directory or, if the home
// directory is read-only or cannot hold sockets, as some network file systems, a directory of this
// machine.
func nodeRoot() (string, error) {
	root, err := dirs.State()
	if err == nil {
		err = usable(root)
	}
	if err == nil || keyway.Is(err, keyway.NoSpace) {
		return root, nil // operations that need space report a full disk; removing still works
	}
	for _, other := range otherRoots() {
		if usable(other) == nil {
			return other, nil
		}
	}
	return "", err
}

// otherRoots returns the alternatives to the state directory, best first. An older keyway used the
// runtime directory, and its workspaces stay there.
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

// usable returns an error if a directory cannot hold files and sockets.
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

// guestRoot returns the directory for the guest program: root, or another one from which programs
// can be executed.
func guestRoot(root string) string {
	if !isNoexec(root) {
		return root
	}
	for _, dir := range otherRoots() {
		if !isNoexec(dir) {
			return dir
		}
	}
	return root // sufficient for containers
}
