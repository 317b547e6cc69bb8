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

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/proctree"
)

// registry is the directory with all sessions of a workspace.
type registry struct {
	dir       string
	workspace string // for messages
}

func openRegistry(home keyway.Home) registry {
	return registry{dir: home.Sessions(), workspace: os.Getenv(keyway.EnvName)}
}

// show is a session's name as people on the laptop type it too.
func (r registry) show(name keyway.Name) string {
	if r.workspace == "" {
		return string(name)
	}
	return r.workspace + "/" + string(name)
}

// command is a command about this workspace that works in it and on the laptop.
func (r registry) command(word string) string {
	return strings.TrimRight("keyway "+word+" "+r.workspace, " ")
}

// jobs are the names of sessions among words. The workspace's own name alone,
// which is typed on the laptop, is none, unless a session is called so.
func (r registry) jobs(words []string) []string {
	if len(words) != 1 || words[0] != r.workspace {
		return words
	}
	if _, err := os.Stat(r.path(keyway.Name(words[0]))); err == nil {
		return words
	}
	return nil
}

// parse reads a session's name; WORKSPACE/NAME is understood as well, since that
// is what messages say and what is typed on the laptop.
func (r registry) parse(s string) (keyway.Name, error) {
	workspace, name, both := strings.Cut(s, "/")
	if !both {
		return keyway.ParseName(s)
	}
	if workspace != r.workspace {
		return "", keyway.Errorf(keyway.Usage, "%s is not in this workspace, which is %s", s, r.workspace)
	}
	return keyway.ParseName(name)
}

func (r registry) path(name keyway.Name) string { return filepath.Join(r.dir, string(name)) }

// load tells of one session; the error is of kind NotFound if there is none.
func (r registry) load(name keyway.Name) (info, error) {
	dir := r.path(name)
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return info{}, keyway.Errorf(keyway.NotFound, "there is no session %s", r.show(name)).
			Hint("see what there is: %s -a", r.command("ls"))
	}
	i := info{path: dir}
	// The lock first: a session that ends meanwhile writes its exit record before
	// it lets the lock go, so what looks dead now has its record by then.
	locked := isLocked(filepath.Join(dir, lockName))
	known := readJSON(filepath.Join(dir, metaName), &i.meta) == nil
	i.Name = name
	var exit exitRecord
	if readJSON(filepath.Join(dir, exitName), &exit) == nil {
		i.Exit = &exit
		i.Left = len(i.leftRunning())
	}
	var hook hookRecord
	if i.Exit != nil && i.OnExit != "" && readJSON(filepath.Join(dir, hookName), &hook) == nil {
		i.Hook = &hook
	}
	same := locked || i.Exit != nil || i.Epoch == epoch(r.dir) // that is dear to find out
	i.Status, i.Reason = judge(locked, known, i.Exit != nil, same)
	if i.Reason == holderKilled && oomKills() > i.OOMKills {
		i.Reason += ", perhaps for lack of memory"
	}
	return i, nil
}

const holderKilled = "its holder was killed"

// judge decides what a session does from what is there of it. An exit record
// counts more than the lock: the holder of an ended session lives on for a while
// if a viewer has not yet read everything.
func judge(locked, known, exit, sameEpoch bool) (status, string) {
	switch {
	case exit:
		return finished, ""
	case locked && known:
		return running, ""
	case locked:
		return starting, ""
	case !known:
		return lostIt, "it never started"
	case !sameEpoch:
		return lostIt, "the workspace was stopped"
	default:
		return lostIt, holderKilled
	}
}

// abandoned is load for somebody whose connection to the holder broke. A process
// that is killed closes its sockets a moment before its lock is free.
func (r registry) abandoned(name keyway.Name) (info, error) {
	const moment = time.Second
	for end := time.Now().Add(moment); ; time.Sleep(5 * time.Millisecond) {
		i, err := r.load(name)
		if err != nil || !i.alive() || time.Now().After(end) {
			return i, err
		}
	}
}

// list tells of all sessions, oldest first.
func (r registry) list() ([]info, error) {
	d, err := os.Open(r.dir)
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
	var all []info
	for _, n := range names {
		name, err := keyway.ParseName(n)
		if err != nil {
			continue
		}
		if i, err := r.load(name); err == nil {
			all = append(all, i)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i], all[j]
		return a.Started.Before(b.Started) || a.Started.Equal(b.Started) && a.Name < b.Name
	})
	return all, nil
}

// isLocked says whether another process holds the lock at path.
func isLocked(path string) bool {
	f, err := openRegular(path, os.O_RDWR)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(flock(f, unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// epoch identifies this run of the workspace that has this directory of
// sessions: the boot of the machine and the first process, which is a container's
// own; where it is the machine's, the workspace's first process has put its pid
// into init.lock.
func epoch(sessions string) string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	id := strings.TrimSpace(string(boot)) + "/" + proctree.StartTime(1)
	lock, err := os.ReadFile(filepath.Join(filepath.Dir(sessions), "init.lock"))
	if pid, convErr := strconv.Atoi(strings.TrimSpace(string(lock))); err == nil && convErr == nil {
		id += "/" + proctree.StartTime(pid)
	}
	return id
}

// settled is load, but waits for a session that is being started.
func (r registry) settled(name keyway.Name) (info, error) {
	i, err := r.load(name)
	if err != nil || i.Status != starting {
		return i, err
	}
	if busy, err := openRegular(filepath.Join(i.path, startName), os.O_RDONLY); err == nil {
		_ = flock(busy, unix.LOCK_SH)
		busy.Close()
	}
	return r.load(name)
}

// pick finds the session that a command without a name means: the only living
// one, or the newest of the ended ones if none lives.
func (r registry) pick() (info, error) {
	all, err := r.list()
	if err != nil {
		return info{}, err
	}
	var living []string
	var newest *info
	for i := range all {
		if all[i].alive() {
			living = append(living, r.show(all[i].Name))
		}
		if newest == nil || !newest.alive() || all[i].alive() {
			newest = &all[i]
		}
	}
	switch {
	case newest == nil:
		return info{}, keyway.Errorf(keyway.NotFound, "there are no sessions").
			Hint("start one: %s -- COMMAND", r.command("run"))
	case len(living) > 1:
		return info{}, keyway.Errorf(keyway.Usage, "which session? %s are running", strings.Join(living, ", ")).
			Hint("name one of them")
	}
	return *newest, nil
}

// remove forgets an ended session.
func (r registry) remove(name keyway.Name) error {
	i, err := r.load(name)
	if err != nil {
		return err
	}
	if i.alive() {
		return keyway.Errorf(keyway.NameTaken, "%s is still running", r.show(name)).
			Hint("end it first: keyway kill %s", r.show(name))
	}
	return os.RemoveAll(i.path)
}
