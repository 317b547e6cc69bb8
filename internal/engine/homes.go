package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"keyway/internal/keyway"
)

// Homes is where one owner's workspaces have their Homes at a place:
// ROOT/workspaces/NAME. A Home appears there complete or not at all.
type Homes struct{ dir string }

// HomesIn are the Homes below root, keyway's state directory at the place.
func HomesIn(root string) Homes { return Homes{filepath.Join(root, "workspaces")} }

// Dir is the directory that holds the Homes.
func (h Homes) Dir() string { return h.dir }

// Home is where the workspace's Home is, or would be.
func (h Homes) Home(name keyway.Name) keyway.Home {
	return keyway.Home(filepath.Join(h.dir, string(name)))
}

// maxSpec bounds spec.json in bytes.
const maxSpec = 4 << 20

// Spec is what the workspace's Home says it was made from. The error wraps
// fs.ErrNotExist if there is no such Home.
func (h Homes) Spec(name keyway.Name) (keyway.Spec, error) {
	f, err := os.Open(h.Home(name).Spec())
	if err != nil {
		return keyway.Spec{}, err
	}
	defer f.Close()
	return decodeSpec(f)
}

func decodeSpec(r io.Reader) (keyway.Spec, error) {
	var s keyway.Spec
	data, err := io.ReadAll(io.LimitReader(r, maxSpec+1))
	if err != nil {
		return s, err
	}
	if len(data) > maxSpec {
		return s, fmt.Errorf("the workspace's specification is over %d bytes", maxSpec)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("the workspace's specification: %w", err)
	}
	return s, nil
}

// Names are the workspaces that have a Home here, sorted.
func (h Homes) Names() ([]keyway.Name, error) {
	entries, err := os.ReadDir(h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []keyway.Name
	for _, e := range entries {
		// Locks and Homes in the making begin with a dot, which no name does.
		if name, bad := keyway.ParseName(e.Name()); bad == nil && e.IsDir() {
			names = append(names, name)
		}
	}
	return names, err
}

// Make makes the Home of a workspace with all that the place puts into it.
// NameTaken if there is one of that name. The caller holds the name's lock.
func (h Homes) Make(s keyway.Spec) (home keyway.Home, err error) {
	home = h.Home(s.Name)
	if err := h.makeDir(); err != nil {
		return "", full(err, h.dir)
	}
	fresh := keyway.Home(filepath.Join(h.dir, "."+string(s.Name)+".new"))
	// A node that was killed in the middle may have left one.
	if err := os.RemoveAll(string(fresh)); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = full(err, h.dir)
			os.RemoveAll(string(fresh))
		}
	}()
	if err := fill(fresh, s); err != nil {
		return "", err
	}
	err = os.Rename(string(fresh), string(home))
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return "", NameTaken(s.Name)
	}
	return home, err
}

func (h Homes) makeDir() error {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	// What is inside is open to the users of containers; see fill.
	return os.Chmod(h.dir, 0o700)
}

// fill makes a Home. The guest in it may be any uid: the one an image or --user
// names, or one that user namespaces make of it. It must be able to write here,
// so the directory is open to all; nobody else gets here, because the directory
// above is 0700.
func fill(home keyway.Home, s keyway.Spec) error {
	if err := os.Mkdir(string(home), 0o777); err != nil {
		return err
	}
	if err := os.Chmod(string(home), 0o777); err != nil { // umask
		return err
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.WriteFile(home.Spec(), data, 0o600); err != nil {
		return err
	}
	keys := strings.Join(s.AuthorizedKeys, "\n") + "\n"
	if err := os.WriteFile(home.AuthorizedKeys(), []byte(keys), 0o644); err != nil {
		return err
	}
	return os.Chmod(home.AuthorizedKeys(), 0o644)
}

// Remove removes a Home. Files that a container's root or other users wrote may
// need their help first; then the error wraps fs.ErrPermission.
func (h Homes) Remove(name keyway.Name) error {
	return errors.Join(
		os.RemoveAll(string(h.Home(name))),
		os.RemoveAll(filepath.Join(h.dir, "."+string(name)+".new")))
}

func (h Homes) lockPath(name keyway.Name) string {
	return filepath.Join(h.dir, "."+string(name)+".lock")
}

// TryLock makes the caller the only one that changes the workspace. NameTaken
// if somebody else is about it just now.
func (h Homes) TryLock(name keyway.Name) (unlock func(), err error) {
	if err := h.makeDir(); err != nil {
		return nil, full(err, h.dir)
	}
	unlock, err = tryLock(h.lockPath(name))
	if errors.Is(err, errLocked) {
		return nil, keyway.Errorf(keyway.NameTaken, "another command is making or changing the workspace %s just now", name).
			Hint("see what becomes of it: keyway ls\nor choose another name: --name %s-2", name)
	}
	return unlock, err
}

// lockPoll is how often a taken lock is tried again. flock(2) can wait by
// itself, but then a context could not end the waiting.
const lockPoll = 20 * time.Millisecond

// Lock is TryLock that waits for whoever is about the workspace.
func (h Homes) Lock(ctx context.Context, name keyway.Name) (unlock func(), err error) {
	for {
		unlock, err := h.TryLock(name)
		if !keyway.Is(err, keyway.NameTaken) {
			return unlock, err
		}
		if err := Sleep(ctx, lockPoll); err != nil {
			return nil, err
		}
	}
}

// Sleep waits for d, or returns ctx's error as soon as it ends.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// NameTaken says that there is a workspace of that name.
func NameTaken(name keyway.Name) *keyway.Error {
	return keyway.Errorf(keyway.NameTaken, "there is a workspace %s already", name).
		Hint("enter it: ssh %s\nor remove it: keyway rm %s\nor choose another name: --name %s-2", name, name, name)
}

// NotFound says that there is no workspace of that name.
func NotFound(name keyway.Name) *keyway.Error {
	return keyway.Errorf(keyway.NotFound, "there is no workspace %s at this place", name).
		Hint("see which there are: keyway ls")
}

// NotRunning says that the workspace is stopped.
func NotRunning(name keyway.Name, reason string) *keyway.Error {
	if reason != "" {
		reason = " (" + reason + ")"
	}
	return keyway.Errorf(keyway.NotRunning, "the workspace %s does not run%s", name, reason).
		Hint("start it: keyway start %s", name)
}

// full is err as an Error of kind NoSpace if a full disk is behind it.
func full(err error, path string) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return keyway.Errorf(keyway.NoSpace, "no space left for the workspace's files: %w", err).
		Hint("see what is full: df -h %s", path)
}

// Unanswered says that the workspace runs but its guest cannot be reached.
func Unanswered(name keyway.Name, err error) *keyway.Error {
	return keyway.Errorf(keyway.GuestFailed, "the workspace %s runs, but its guest does not answer: %w", name, err).
		Hint("restart it: keyway stop %s && keyway start %s", name, name)
}

// IsHomeOf says whether path looks like a Home of that workspace below any root.
// A path that was read from elsewhere must, before it is removed.
func IsHomeOf(path string, name keyway.Name) bool {
	dir, last := filepath.Split(filepath.Clean(path))
	return filepath.IsAbs(path) && last == string(name) && filepath.Base(dir) == "workspaces"
}

// HomesAbove are the Homes that home is one of.
func HomesAbove(home keyway.Home) Homes { return Homes{filepath.Dir(string(home))} }
