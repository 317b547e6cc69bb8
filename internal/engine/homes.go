package engine

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// Homes is where one owner's workspaces have their Homes at a place:
// ROOT/workspaces/NAME. A Home appears there complete or not at all. Beside it,
// where no workspace reaches, are .NAME.json, its Record, and .NAME.key, the host
// key of its guest.
type Homes struct{ dir string }

// HomesIn are the Homes below root, keyway's state directory at the place.
func HomesIn(root string) Homes { return Homes{filepath.Join(root, "workspaces")} }

// Dir is the directory that holds the Homes.
func (h Homes) Dir() string { return h.dir }

// Home is where the workspace's Home is, or would be.
func (h Homes) Home(name keyway.Name) keyway.Home {
	return keyway.Home(filepath.Join(h.dir, string(name)))
}

// Record is what the place itself remembers of a workspace. It is not in the
// Home: what a workspace can rewrite must not say which engine runs it, or what.
type Record struct {
	Spec    keyway.Spec `json:"spec"`    // what it was made from
	Created time.Time   `json:"created"` // when
	Guest   string      `json:"guest"`   // the last element of Guest.Dir it runs with
	// HostKey is the public key that the place has given the guest, in
	// authorized_keys form. Empty: an older keyway made the workspace, whose guest
	// made its key itself.
	HostKey string `json:"hostKey,omitempty"`
	// Sent are the keys that may enter beside those of Spec, as the owner sent them.
	Sent []keyway.EntryKey `json:"sent,omitempty"`
	// Container is what the platform calls the workspace, and Data where the place
	// finds the workspace's Home.Data; empty where there is no such thing.
	Container string `json:"container,omitempty"`
	Data      string `json:"data,omitempty"`
	// Adopted says that the container was somebody else's work, and is not this
	// workspace's to change, start, stop or remove. Exec is then what the daemon calls the
	// guest's first process.
	Adopted bool   `json:"adopted,omitempty"`
	Exec    string `json:"exec,omitempty"`
	// Machine is where it was made, and nowhere else can anything be done with it.
	Machine Machine `json:"machine,omitzero"`
	// Daemon is the one that has it, where there may be several on a machine.
	Daemon Daemon `json:"daemon,omitzero"`
}

// maxRecord bounds a Record's file in bytes.
const maxRecord = 4 << 20

func (h Homes) recordPath(name keyway.Name) string {
	return filepath.Join(h.dir, "."+string(name)+".json")
}

// Record is what is remembered of a workspace of this machine. The error wraps
// fs.ErrNotExist if there is no such Home, and says where it is if that is another
// machine's.
func (h Homes) Record(name keyway.Name) (Record, error) {
	rec, err := h.read(name)
	if err == nil && !rec.isHere() {
		return Record{}, h.elsewhere(rec)
	}
	return rec, err
}

// read is Record, whichever machine it is of.
func (h Homes) read(name keyway.Name) (Record, error) {
	// A Home that somebody removed by hand leaves its Record.
	if _, err := os.Lstat(string(h.Home(name))); err != nil {
		return Record{}, err
	}
	f, err := os.Open(h.recordPath(name))
	if err != nil {
		return Record{}, err
	}
	defer f.Close()
	return decodeRecord(f)
}

func decodeRecord(r io.Reader) (Record, error) {
	var rec Record
	data, err := io.ReadAll(io.LimitReader(r, maxRecord+1))
	if err != nil {
		return rec, err
	}
	if len(data) > maxRecord {
		return rec, fmt.Errorf("the workspace's record is over %d bytes", maxRecord)
	}
	if err := json.Unmarshal(data, &rec); err != nil {
		return rec, fmt.Errorf("the workspace's record: %w", err)
	}
	return rec, nil
}

func (h Homes) remember(rec Record) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return keyway.WriteFile(h.recordPath(rec.Spec.Name), data, 0o600)
}

// Spec is what the workspace was made from. The error wraps fs.ErrNotExist if
// there is no such Home.
func (h Homes) Spec(name keyway.Name) (keyway.Spec, error) {
	rec, err := h.Record(name)
	return rec.Spec, err
}

// Revise changes what is remembered of the workspace. The caller holds the
// name's lock.
func (h Homes) Revise(name keyway.Name, change func(*Record)) error {
	rec, err := h.Record(name)
	if err != nil {
		return err
	}
	before := rec.revisable()
	if change(&rec); rec.revisable() == before {
		return nil
	}
	return h.remember(rec)
}

// revisable is the part of r that can change in a workspace's life.
func (r Record) revisable() [6]string {
	return [6]string{r.Guest, r.HostKey, r.Container, r.Data, r.Daemon.ID, r.Exec}
}

// Admit lets keys enter the workspace, beside those it was made with and those that
// were sent before and have not ended, and returns the file that says so. Lines that
// the workspace itself may have written into that file are not taken over. The caller
// holds the name's lock.
func (h Homes) Admit(name keyway.Name, keys []keyway.EntryKey, now time.Time) ([]byte, error) {
	rec, err := h.Record(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, NotFound(name)
	}
	if err != nil {
		return nil, err
	}
	rec.Sent = keyway.MergeKeys(rec.Sent, keys, now)
	if err := h.remember(rec); err != nil {
		return nil, full(err)
	}
	file := keyway.KeysFile(rec.Spec.AuthorizedKeys, rec.Sent)
	return file, full(keyway.WriteFile(h.Home(name).AuthorizedKeys(), file, 0o644))
}

// RunsWith remembers that the workspace runs with that guest from now on. The
// caller holds the name's lock.
func (h Homes) RunsWith(name keyway.Name, guest Guest) error {
	return h.Revise(name, func(r *Record) { r.Guest = filepath.Base(guest.Dir) })
}

func (h Homes) keyPath(name keyway.Name) string {
	return filepath.Join(h.dir, "."+string(name)+".key")
}

// HostKey is the guest's host key as it is handed over. The error wraps
// fs.ErrNotExist for a workspace whose Record has none.
func (h Homes) HostKey(name keyway.Name) ([]byte, error) {
	f, err := os.Open(h.keyPath(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	key, err := keyway.ReadHostKey(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.keyPath(name), err)
	}
	return keyway.MarshalHostKey(key), nil
}

// GiveKey gives a workspace whose Record has no host key this one. The caller
// holds the name's lock.
func (h Homes) GiveKey(name keyway.Name, key ed25519.PrivateKey) error {
	public, err := h.keepKey(name, key)
	if err != nil {
		return err
	}
	return h.Revise(name, func(r *Record) { r.HostKey = public })
}

// keepKey keeps a guest's host key and returns its public half.
func (h Homes) keepKey(name keyway.Name, key ed25519.PrivateKey) (string, error) {
	if err := keyway.WriteFile(h.keyPath(name), keyway.MarshalHostKey(key), 0o600); err != nil {
		return "", err
	}
	return keyway.PublicHostKey(key.Public().(ed25519.PublicKey)), nil
}

// Guests are the guests that the workspaces here run with, by the last element
// of Guest.Dir. It fails if one workspace's cannot be told.
func (h Homes) Guests() (map[string]bool, error) {
	names, err := h.all() // those of other machines run with the same files
	if err != nil {
		return nil, err
	}
	guests := make(map[string]bool)
	for _, name := range names {
		rec, err := h.read(name)
		if err != nil {
			return nil, err
		}
		guests[rec.Guest] = true
	}
	return guests, nil
}

// Names are the workspaces of this machine that have a Home, sorted.
func (h Homes) Names() ([]keyway.Name, error) {
	names, err := h.all()
	return slices.DeleteFunc(names, func(name keyway.Name) bool {
		rec, err := h.read(name)
		return err == nil && !rec.isHere()
	}), err
}

// all are the workspaces that have a Home, of whichever machine.
func (h Homes) all() ([]keyway.Name, error) {
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

// Make makes the Home of a workspace that runs with guest, and all that the place
// puts into it. NameTaken if there is one of that name. The caller holds the
// name's lock.
func (h Homes) Make(s keyway.Spec, guest Guest) (_ keyway.Home, err error) {
	home, fresh := h.Home(s.Name), keyway.Home(h.freshPath(s.Name))
	if _, err := os.Lstat(string(home)); err == nil {
		if rec, err := h.read(s.Name); err == nil && !rec.isHere() {
			return "", keyway.Errorf(keyway.NameTaken, "there is a workspace %s at %q, which has the same home directory: choose another name", s.Name, rec.Machine.Host)
		}
		return "", NameTaken(s.Name)
	}
	if err := h.makeDir(); err != nil {
		return "", full(err)
	}
	// A node that was killed in the middle may have left one.
	if err := os.RemoveAll(string(fresh)); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = full(err)
			os.RemoveAll(string(fresh))
			os.Remove(h.recordPath(s.Name))
			os.Remove(h.keyPath(s.Name))
		}
	}()
	if err := fill(fresh, s); err != nil {
		return "", err
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", err
	}
	public, err := h.keepKey(s.Name, key)
	if err != nil {
		return "", err
	}
	// The Home comes last: it is what says that there is a workspace.
	s.Secrets = nil // they are in the workspace only
	rec := Record{Spec: s, Created: time.Now().UTC(), Guest: filepath.Base(guest.Dir), HostKey: public, Machine: thisMachine()}
	if err := h.remember(rec); err != nil {
		return "", err
	}
	return home, os.Rename(string(fresh), string(home))
}

func (h Homes) freshPath(name keyway.Name) string {
	return filepath.Join(h.dir, "."+string(name)+".new")
}

func (h Homes) makeDir() error {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	// Files inside are open to the users of containers; see fill.
	return os.Chmod(h.dir, 0o700)
}

// homeMode is the mode of a Home. The guest in a container may be any uid: the
// one an image or --user names, or one that user namespaces make of it. It must
// be able to write there, so the directory is open to all, and its sticky bit
// keeps every uid from what belongs to another. A process outside the workspace does
// not get here, because the directory above is 0700. Plain processes are the
// owner's own.
func homeMode(s keyway.Spec) fs.FileMode {
	if !keyway.UsesImages(s.Engine) {
		return 0o700
	}
	return 0o777 | fs.ModeSticky
}

// fill makes a Home with what is the place's in it, also the directories that
// containers get something mounted on: made by a daemon they would be root's.
func fill(home keyway.Home, s keyway.Spec) error {
	if err := os.Mkdir(string(home), 0o700); err != nil {
		return err
	}
	keys := strings.Join(s.AuthorizedKeys, "\n") + "\n"
	if err := keyway.WriteFile(home.AuthorizedKeys(), []byte(keys), 0o644); err != nil {
		return err
	}
	if keyway.UsesImages(s.Engine) {
		if err := errors.Join(os.Mkdir(home.Bin(), 0o700), os.Mkdir(home.Data(), 0o700)); err != nil {
			return err
		}
	}
	return os.Chmod(string(home), homeMode(s)) // last, and whatever the umask
}

// Remove removes a Home and its Record. Files that a container's root or other
// users wrote may need their help first; then the error wraps fs.ErrPermission,
// and the Record stays until they are gone.
func (h Homes) Remove(name keyway.Name) error {
	if err := errors.Join(os.RemoveAll(string(h.Home(name))), os.RemoveAll(h.freshPath(name))); err != nil {
		return err
	}
	return errors.Join(removeFile(h.keyPath(name)), removeFile(h.recordPath(name)))
}

func (h Homes) lockPath(name keyway.Name) string {
	return filepath.Join(h.dir, "."+string(name)+".lock")
}

// TryLock makes the caller the only one that changes the workspace. NameTaken
// if somebody else is about it just now.
func (h Homes) TryLock(name keyway.Name) (unlock func(), err error) {
	if err := h.makeDir(); err != nil {
		return nil, full(err)
	}
	unlock, err = tryLock(h.lockPath(name))
	if errors.Is(err, filelock.ErrLocked) {
		return nil, keyway.Errorf(keyway.NameTaken, "another command is making or changing the workspace %s just now", name).
			Advise(keyway.WaitOrRename, string(name))
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
		if err := sleep.For(ctx, lockPoll); err != nil {
			return nil, err
		}
	}
}

// NameTaken says that there is a workspace of that name.
func NameTaken(name keyway.Name) *keyway.Error {
	return keyway.Errorf(keyway.NameTaken, "there is a workspace %s already", name).
		Advise(keyway.EnterOrRemove, string(name))
}

// ContainerTaken says that there is a container of the name that the workspace's would
// have. found is how that workspace was not found in it; nil: it was.
func ContainerTaken(found error, name keyway.Name, engine, container string) error {
	switch {
	case found == nil:
		return NameTaken(name)
	case !keyway.Is(found, keyway.NotFound):
		return found
	}
	return keyway.Errorf(keyway.NameTaken, "a container %s is there already, and it is no workspace of yours", container).
		Hint("see what it is, at the place: %s inspect %s", engine, container).
		Advise(keyway.OtherName, string(name)+"-2")
}

// HalfMade is the reason of a workspace whose node ended while it made it. The next Create of that
// name removes what there is of it.
const HalfMade = "half made: its node was ended meanwhile"

// IsHalfMade is the error of a caller that wants to use such a workspace.
func IsHalfMade(name keyway.Name) *keyway.Error {
	return keyway.Errorf(keyway.NotRunning, "the workspace %s is %s", name, HalfMade).Advise(keyway.FinishOrRemove, string(name))
}

// NotFound says that there is no workspace of that name.
func NotFound(name keyway.Name) *keyway.Error {
	return keyway.Errorf(keyway.NotFound, "there is no workspace %s at this place", name).
		Advise(keyway.SeeWorkspaces)
}

// NotRunning says that the workspace is stopped.
func NotRunning(name keyway.Name, reason string) *keyway.Error {
	if reason != "" {
		reason = " (" + reason + ")"
	}
	return keyway.Errorf(keyway.NotRunning, "the workspace %s does not run%s", name, reason).
		Advise(keyway.StartWorkspace, string(name))
}

// full is err as an Error of kind NoSpace if a full disk is behind it.
func full(err error) error {
	if !keyway.IsNoSpace(err) || keyway.Is(err, keyway.NoSpace) {
		return err
	}
	return keyway.AsTold(keyway.Errorf(keyway.Other, "no space left for the workspace's files: %w", err))
}

// Unanswered says that the workspace runs but its guest cannot be reached.
func Unanswered(name keyway.Name, err error) *keyway.Error {
	return keyway.Errorf(keyway.GuestFailed, "the workspace %s runs, but its guest does not answer: %w", name, err).
		Advise(keyway.RestartWorkspace, string(name))
}

// IsHomeOf reports whether path looks like a Home of that workspace below any root.
// A path that was read from elsewhere must, before it is removed.
func IsHomeOf(path string, name keyway.Name) bool {
	dir, last := filepath.Split(filepath.Clean(path))
	return filepath.IsAbs(path) && last == string(name) && filepath.Base(dir) == "workspaces"
}

// HomesAbove are the Homes that home is one of.
func HomesAbove(home keyway.Home) Homes { return Homes{filepath.Dir(string(home))} }
