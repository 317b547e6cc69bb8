package engine

import (
	"cmp"
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

// Homes is the directory of one owner's Homes at a place: ROOT/workspaces/NAME. A Home appears
// there complete or not at all. Beside it, out of the workspaces' reach, are .NAME.json, its
// Record, and .NAME.key, the host key of its guest.
type Homes struct{ dir string }

// HomesIn returns the Homes below root, keyway's state directory at the place.
func HomesIn(root string) Homes { return Homes{filepath.Join(root, "workspaces")} }

// Dir returns the directory that holds the Homes.
func (h Homes) Dir() string { return h.dir }

// Home returns the path of the workspace's Home, whether or not it exists.
func (h Homes) Home(name keyway.Name) keyway.Home {
	return keyway.Home(filepath.Join(h.dir, string(name)))
}

// Record is the place's own record of a workspace. It is not in the Home: data that a workspace can
// rewrite must not decide which engine runs it, or what.
type Record struct {
	Spec    keyway.Spec `json:"spec"`    // the Spec that it was made from
	Created time.Time   `json:"created"` // time of creation
	Guest   string      `json:"guest"`   // last element of the Guest.Dir that it runs with
	// HostKey is the public key that the place has given the guest, in the form of authorized_keys.
	// It is empty if an older keyway made the workspace, whose guest made its key itself.
	HostKey string `json:"hostKey,omitempty"`
	// Sent are the keys that may enter besides those of Spec, as the owner sent them.
	Sent []keyway.EntryKey `json:"sent,omitempty"`
	// Container is the platform's name for the workspace, and Data the path of its Home.Data at the
	// place. Each is empty if it does not exist.
	Container string `json:"container,omitempty"`
	Data      string `json:"data,omitempty"`
	// Fresh lists the volumes that were made with the workspace, by the names in its Spec.
	Fresh []string `json:"fresh,omitempty"`
	// Adopted means that keyway has not made the container, and so must not change, start, stop or
	// remove it. Exec is then the daemon's ID of the guest's first process.
	Adopted bool   `json:"adopted,omitempty"`
	Exec    string `json:"exec,omitempty"`
	// Machine is the machine where it was made. It cannot be used from any other.
	Machine Machine `json:"machine,omitzero"`
	// Daemon is the daemon that runs it, where a machine may have several.
	Daemon Daemon `json:"daemon,omitzero"`
	// Chosen has the platform's choices; nil: an older keyway did not record them.
	Chosen *Chosen `json:"chosen,omitempty"`
}

// Chosen has a platform's choices for a workspace, by which its Spec differs from the requested
// one.
type Chosen struct {
	Options []string        `json:"options,omitempty"` // that were left to the place
	Ulimits []keyway.Ulimit `json:"ulimits,omitempty"` // as requested, if the platform gave lower ones
}

// maxRecord bounds the bytes of a Record's file.
const maxRecord = 4 << 20

func (h Homes) recordPath(name keyway.Name) string {
	return filepath.Join(h.dir, "."+string(name)+".json")
}

// Record returns the Record of a workspace of this machine. The error wraps fs.ErrNotExist if there
// is no such Home. If the Home belongs to another machine, the error names that. A Record that
// cannot be read is an error for people: it proves nothing about the workspace, which may run.
func (h Homes) Record(name keyway.Name) (Record, error) {
	rec, err := h.read(name)
	switch {
	case err == nil && !rec.isHere():
		return Record{}, h.elsewhere(rec)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Record{}, keyway.Errorf(keyway.Other, "the record of the workspace %s cannot be read, so nothing of it is used, changed or replaced: %w", name, err).
			Hint("see what is wrong with it, at the place: ls -l %s", h.recordPath(name))
	}
	return rec, err
}

// Known is Record, but returns the zero Record and no error if there is no such Home.
func (h Homes) Known(name keyway.Name) (Record, error) {
	rec, err := h.Record(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, nil
	}
	return rec, err
}

// read is Record for a workspace of any machine.
func (h Homes) read(name keyway.Name) (Record, error) {
	// If a user removes a Home by hand, its Record is left.
	if _, err := os.Lstat(string(h.Home(name))); err != nil {
		return Record{}, err
	}
	f, err := os.Open(h.recordPath(name))
	if err != nil {
		return Record{}, err
	}
	defer f.Close()
	rec, err := decodeRecord(f)
	if err == nil && rec.Spec.Name != name {
		err = fmt.Errorf("it is the record of a workspace %q", rec.Spec.Name)
	}
	return rec, err
}

func decodeRecord(r io.Reader) (Record, error) {
	var rec Record
	data, err := io.ReadAll(io.LimitReader(r, maxRecord+1))
	if err != nil {
		return rec, err
	}
	if len(data) > maxRecord {
		return rec, fmt.Errorf("it is over %d bytes", maxRecord)
	}
	return rec, json.Unmarshal(data, &rec)
}

func (h Homes) remember(rec Record) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return keyway.WriteFile(h.recordPath(rec.Spec.Name), data, 0o600)
}

// Spec returns the Spec that the workspace was made from. The error wraps fs.ErrNotExist if there
// is no such Home.
func (h Homes) Spec(name keyway.Name) (keyway.Spec, error) {
	rec, err := h.Record(name)
	return rec.Spec, err
}

// Revise changes the Record of the workspace. The caller holds the name's lock.
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

// revisable returns the fields of r that can change in a workspace's life.
func (r Record) revisable() [7]string {
	return [7]string{r.Guest, r.HostKey, r.Container, r.Data, r.Daemon.ID, r.Exec, strings.Join(r.Fresh, " ")}
}

// Admit lets keys enter the workspace, besides those that it was made with and those that were sent
// before and have not expired. It returns the new file of keys. Lines that the workspace itself may
// have added to that file are dropped. The caller holds the name's lock.
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

// RunsWith records that the workspace runs with that guest from now on. The caller holds the name's
// lock.
func (h Homes) RunsWith(name keyway.Name, guest Guest) error {
	return h.Revise(name, func(r *Record) { r.Guest = filepath.Base(guest.Dir) })
}

func (h Homes) keyPath(name keyway.Name) string {
	return filepath.Join(h.dir, "."+string(name)+".key")
}

// HostKey returns the guest's host key in the form in which it is handed over. The error wraps
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

// GiveKey sets the host key of a workspace whose Record has none. The caller holds the name's lock.
func (h Homes) GiveKey(name keyway.Name, key ed25519.PrivateKey) error {
	public, err := h.keepKey(name, key)
	if err != nil {
		return err
	}
	return h.Revise(name, func(r *Record) { r.HostKey = public })
}

// keepKey stores a guest's host key and returns the public key.
func (h Homes) keepKey(name keyway.Name, key ed25519.PrivateKey) (string, error) {
	if err := keyway.WriteFile(h.keyPath(name), keyway.MarshalHostKey(key), 0o600); err != nil {
		return "", err
	}
	return keyway.PublicHostKey(key.Public().(ed25519.PublicKey)), nil
}

// Guests returns the guests that the workspaces here run with, by the last element of Guest.Dir. It
// fails if one workspace's is unknown.
func (h Homes) Guests() (map[string]bool, error) {
	names, err := h.all() // workspaces of other machines run with the same files
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

// Names returns the workspaces of this machine that have a Home, sorted.
func (h Homes) Names() ([]keyway.Name, error) {
	names, err := h.all()
	return slices.DeleteFunc(names, func(name keyway.Name) bool {
		rec, err := h.read(name)
		return err == nil && !rec.isHere()
	}), err
}

// Adopted returns the Records of the adopted workspaces of this machine. With an error, it returns
// those that can be read.
func (h Homes) Adopted() (list []Record, unknown error) {
	names, unknown := h.Names()
	for _, name := range names {
		rec, err := h.Known(name)
		unknown = cmp.Or(unknown, err)
		if rec.Adopted {
			list = append(list, rec)
		}
	}
	return list, unknown
}

// all returns the workspaces of all machines that have a Home.
func (h Homes) all() ([]keyway.Name, error) {
	entries, err := os.ReadDir(h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []keyway.Name
	for _, e := range entries {
		// Locks and unfinished Homes begin with a dot, which no name does.
		if name, bad := keyway.ParseName(e.Name()); bad == nil && e.IsDir() {
			names = append(names, name)
		}
	}
	return names, err
}

// Make makes the Home of a workspace that runs with guest, with all the files that the place puts
// into it. The error is NameTaken if the name is in use. The caller holds the name's lock.
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
	// A node that was killed meanwhile may have left one.
	if err := os.RemoveAll(string(fresh)); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			if err = full(err); keyway.Is(err, keyway.NoSpace) { // where it was to be written is removed below
				err = keyway.AsError(err).Hint("%s", keyway.SeeFull(h.dir))
			}
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
	// The Home comes last: it marks the workspace as existing.
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

// homeMode returns the mode of a Home. The guest in a container may have any uid: the one that an
// image or --user names, or one that a user namespace maps it to. It must be able to write there,
// so the directory is open to all, and its sticky bit protects the files of each uid from others.
// Processes outside the workspace cannot enter, because the directory above is 0700. Plain
// processes run as the owner.
func homeMode(s keyway.Spec) fs.FileMode {
	if !keyway.UsesImages(s.Engine) {
		return 0o700
	}
	return 0o777 | fs.ModeSticky
}

// fill makes a Home with the place's files in it. It also makes the directories on which containers
// get mounts: if a daemon made them, they would belong to root.
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
	return os.Chmod(string(home), homeMode(s)) // last, and independent of the umask
}

// Remove removes a Home and its Record. Files of a container's root or other users may need their
// help first. The error then wraps fs.ErrPermission, and the Record stays until they are gone.
func (h Homes) Remove(name keyway.Name) error {
	if err := errors.Join(os.RemoveAll(string(h.Home(name))), os.RemoveAll(h.freshPath(name))); err != nil {
		return err
	}
	return errors.Join(removeFile(h.keyPath(name)), removeFile(h.recordPath(name)))
}

func (h Homes) lockPath(name keyway.Name) string {
	return filepath.Join(h.dir, "."+string(name)+".lock")
}

// TryLock gives the caller the exclusive right to change the workspace. The error is NameTaken if
// another process has it.
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

// lockPoll is the interval at which a held lock is tried again. flock(2) can wait by itself, but a
// context could not end that.
const lockPoll = 20 * time.Millisecond

// Lock is TryLock, but waits for the present holder.
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

// NameTaken returns the error for a name that a workspace has.
func NameTaken(name keyway.Name) *keyway.Error {
	return keyway.Errorf(keyway.NameTaken, "there is a workspace %s already", name).
		Advise(keyway.EnterOrRemove, string(name))
}

// GraceUntold returns the error of a stop that could not tell the guest its grace period: jobs
// would be killed after the default period, perhaps while they save their work. It returns nil if
// err is nil, or if grace is no longer than the default.
func GraceUntold(name keyway.Name, grace time.Duration, err error) error {
	if err == nil || grace <= keyway.DefaultGrace {
		return nil
	}
	e := keyway.AsError(err)
	return keyway.Errorf(e.Kind, "%s is not stopped: its jobs would be killed after %v instead of %v: %w", name, keyway.DefaultGrace, grace, err).
		Hint("%s", e.Next)
}

// ContainerTaken returns the error for a container that has the name of a workspace's. found
// is the error with which that workspace was not found in it; nil if it was found.
func ContainerTaken(found error, name keyway.Name, engine, container string) error {
	switch {
	case found == nil:
		return NameTaken(name)
	case !keyway.Is(found, keyway.NotFound):
		return found
	}
	return keyway.Errorf(keyway.NameTaken, "a container %s is there already, and it is not one of your workspaces", container).
		Hint("see what it is, at the place: %s inspect %s", engine, container).
		Advise(keyway.OtherName, string(name)+"-2")
}

// HalfMade is the reason for a workspace whose node ended while making it. The next Create of that
// name removes the remains.
const HalfMade = "half made: its node was ended meanwhile"

// IsHalfMade returns the error for the use of such a workspace.
func IsHalfMade(name keyway.Name) *keyway.Error {
	return keyway.Errorf(keyway.NotRunning, "the workspace %s is %s", name, HalfMade).Advise(keyway.FinishOrRemove, string(name))
}

// NotFound returns the error for a name that no workspace has.
func NotFound(name keyway.Name) *keyway.Error {
	return keyway.Errorf(keyway.NotFound, "there is no workspace %s at this place", name).
		Advise(keyway.SeeWorkspaces)
}

// NotRunning returns the error for a stopped workspace.
func NotRunning(name keyway.Name, reason string) *keyway.Error {
	if reason != "" {
		reason = " (" + reason + ")"
	}
	return keyway.Errorf(keyway.NotRunning, "the workspace %s does not run%s", name, reason).
		Advise(keyway.StartWorkspace, string(name))
}

// full returns err as an Error of kind NoSpace if its cause is a full disk.
func full(err error) error {
	if !keyway.IsNoSpace(err) || keyway.Is(err, keyway.NoSpace) {
		return err
	}
	return keyway.AsTold(keyway.Errorf(keyway.Other, "no space left for the workspace's files: %w", err))
}

// Unanswered returns the error for a running workspace whose guest cannot be reached.
func Unanswered(name keyway.Name, err error) *keyway.Error {
	return keyway.Errorf(keyway.GuestFailed, "the workspace %s runs, but its guest does not answer: %w", name, err).
		Advise(keyway.RestartWorkspace, string(name))
}

// IsHomeOf reports whether path looks like a Home of that workspace below any root. A path that
// comes from elsewhere must, before it is removed.
func IsHomeOf(path string, name keyway.Name) bool {
	dir, last := filepath.Split(filepath.Clean(path))
	return filepath.IsAbs(path) && last == string(name) && filepath.Base(dir) == "workspaces"
}

// HomesAbove returns the Homes that home belongs to.
func HomesAbove(home keyway.Home) Homes { return Homes{filepath.Dir(string(home))} }
