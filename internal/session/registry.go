//go:build linux

package session

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
	"keyway/internal/proctree"
)

// Registry is the directory with all sessions of a workspace.
type Registry struct {
	Dir       string
	Workspace string // for messages
}

// Open returns the registry of the workspace with that Home.
func Open(home keyway.Home) Registry {
	return Registry{Dir: home.Sessions(), Workspace: os.Getenv(keyway.EnvName)}
}

// Show returns a session's name in the form that also works on the laptop.
func (r Registry) Show(name keyway.Name) string {
	if r.Workspace == "" {
		return string(name)
	}
	return r.Workspace + "/" + string(name)
}

// Command returns a command line about this workspace that works in the workspace and on the
// laptop.
func (r Registry) Command(word string) string {
	return strings.TrimRight("keyway "+word+" "+r.Workspace, " ")
}

// Jobs returns the names of sessions among words. The workspace's own name alone, as typed on
// the laptop, is not one, unless a session has that name.
func (r Registry) Jobs(words []string) []string {
	if len(words) != 1 || words[0] != r.Workspace {
		return words
	}
	if _, err := os.Stat(r.Path(keyway.Name(words[0]))); err == nil {
		return words
	}
	return nil
}

// Parse reads a session's name. It also accepts WORKSPACE/NAME, which messages print and users
// type on the laptop.
func (r Registry) Parse(s string) (keyway.Name, error) {
	workspace, name, both := strings.Cut(s, "/")
	if !both {
		return keyway.ParseName(s)
	}
	if workspace != r.Workspace {
		return "", keyway.Errorf(keyway.Usage, "%s is not in this workspace, which is %s", s, r.Workspace)
	}
	return keyway.ParseName(name)
}

// Path returns the directory of a session, whether or not the session exists.
func (r Registry) Path(name keyway.Name) string { return filepath.Join(r.Dir, string(name)) }

// Load returns the state of one session. The error is of kind NotFound if there is none.
func (r Registry) Load(name keyway.Name) (Info, error) {
	dir := r.Path(name)
	if st, err := os.Lstat(dir); err != nil || !st.IsDir() { // a link would lead to another directory
		return Info{}, keyway.Errorf(keyway.NotFound, "there is no session %s", r.Show(name)).
			Hint("see what there is: %s -a", r.Command("ls"))
	}
	i := Info{Path: dir}
	// The lock first: a session that ends meanwhile writes its exit record before it releases the
	// lock. So a session that seems dead here already has its record.
	locked := isLocked(filepath.Join(dir, lockName))
	known := readJSON(filepath.Join(dir, MetaName), &i.Meta) == nil
	i.Name = name
	var exit ExitRecord
	if readJSON(filepath.Join(dir, ExitName), &exit) == nil {
		i.Exit = &exit
		i.Left = len(i.leftRunning())
	}
	var hook HookRecord
	if i.Exit != nil && i.OnExit != "" && readJSON(filepath.Join(dir, HookName), &hook) == nil {
		i.Hook = &hook
	}
	same := locked || i.Exit != nil || i.Epoch == Epoch(r.Dir) // Epoch is expensive
	i.Status, i.Reason = judge(locked, known, i.Exit != nil, same)
	if i.Status == Ended && i.Exit == nil {
		i.Exit = i.stopped()
	}
	if i.Reason == holderKilled && OOMKills() > i.OOMKills {
		i.Reason += ", perhaps for lack of memory"
	}
	return i, nil
}

const holderKilled = "its holder was killed"

// judge derives the state of a session from the files that exist. An exit record counts more
// than the lock: the holder of an ended session lives on while a viewer has not read
// everything. A session of an earlier epoch has ended with its workspace.
func judge(locked, known, exit, sameEpoch bool) (State, string) {
	switch {
	case exit:
		return Ended, ""
	case locked && known:
		return Running, ""
	case locked:
		return Starting, ""
	case !known:
		return Lost, "it never started"
	case !sameEpoch:
		return Ended, ""
	default:
		return Lost, holderKilled
	}
}

// Abandoned is Load for a caller whose connection to the holder broke. While the session seems
// to live, it waits for up to a second: a process that is killed closes its sockets before it
// releases its lock.
func (r Registry) Abandoned(name keyway.Name) (Info, error) {
	const moment = time.Second
	for end := time.Now().Add(moment); ; time.Sleep(5 * time.Millisecond) {
		i, err := r.Load(name)
		if err != nil || !i.Alive() || time.Now().After(end) {
			return i, err
		}
	}
}

// List returns all sessions, oldest first.
func (r Registry) List() ([]Info, error) {
	d, err := os.Open(r.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(maxSessions)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var all []Info
	for _, n := range names {
		name, err := keyway.ParseName(n)
		if err != nil {
			continue
		}
		if i, err := r.Load(name); err == nil {
			all = append(all, i)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i], all[j]
		return a.Started.Before(b.Started) || a.Started.Equal(b.Started) && a.Name < b.Name
	})
	return all, nil
}

// isLocked reports whether another process holds the lock at path.
func isLocked(path string) bool {
	f, err := OpenRegular(path, os.O_RDWR)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(filelock.Try(f, filelock.Shared), filelock.ErrLocked)
}

// Epoch identifies the present run of the workspace with this directory of sessions: the boot
// of the machine and the first process. Pid 1 is a container's own first process; where it is
// the machine's, the workspace's first process writes its pid to init.lock.
func Epoch(sessions string) string {
	id := proctree.Boot() + "/" + proctree.StartTime(1)
	lock, err := os.ReadFile(filepath.Join(filepath.Dir(sessions), "init.lock"))
	if pid, convErr := strconv.Atoi(strings.TrimSpace(string(lock))); err == nil && convErr == nil {
		id += "/" + proctree.StartTime(pid)
	}
	return id
}

// Settled is Load, but first waits until a session that is being started runs or has failed.
func (r Registry) Settled(name keyway.Name) (Info, error) {
	i, err := r.Load(name)
	if err != nil || i.Status != Starting {
		return i, err
	}
	if busy, err := OpenRegular(filepath.Join(i.Path, startName), os.O_RDONLY); err == nil {
		_ = filelock.Wait(busy, filelock.Shared)
		busy.Close()
	}
	return r.Load(name)
}

// Pick finds the session for a command without a name: the only living one, or the newest ended
// one if none lives.
func (r Registry) Pick() (Info, error) {
	all, err := r.List()
	if err != nil {
		return Info{}, err
	}
	var living []string
	var newest *Info
	for i := range all {
		if all[i].Alive() {
			living = append(living, r.Show(all[i].Name))
		}
		if newest == nil || !newest.Alive() || all[i].Alive() {
			newest = &all[i]
		}
	}
	switch {
	case newest == nil:
		return Info{}, keyway.Errorf(keyway.NotFound, "there are no sessions").
			Hint("start one: %s -- COMMAND", r.Command("run"))
	case len(living) > 1:
		return Info{}, keyway.Errorf(keyway.Usage, "which session? %s are running", strings.Join(living, ", ")).
			Hint("name one of them")
	}
	return *newest, nil
}

// Remove removes the files of an ended session.
func (r Registry) Remove(name keyway.Name) error {
	i, err := r.Load(name)
	if err != nil {
		return err
	}
	if i.Alive() {
		return keyway.Errorf(keyway.NameTaken, "%s is still running", r.Show(name)).
			Advise(keyway.EndSession, r.Show(name))
	}
	return os.RemoveAll(i.Path)
}
