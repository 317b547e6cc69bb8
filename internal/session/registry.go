//go:build linux

package session

import (
	"encoding/json"
	"errors"
	"fmt"
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

// Files of a session besides its log.
const (
	metaName = "meta.json"
	lockName = "lock"
	sockName = "sock"
	exitName = "exit.json"
	errName  = "holder.err"
	// startName is locked by whoever starts the session, and removed when it has
	// been started.
	startName = "starting"
)

// Bounds on what is read from the registry, which jobs can write to.
const (
	maxMeta     = 256 << 10
	maxSessions = 10_000
)

// meta is meta.json: what is known of a session from its start.
type meta struct {
	Name    keyway.Name `json:"name"`
	Command []string    `json:"command"`
	Dir     string      `json:"cwd"`
	TTY     bool        `json:"tty,omitempty"`
	By      string      `json:"by,omitempty"` // who started it
	Started time.Time   `json:"started"`
	// Epoch changes when the workspace is stopped and started again.
	Epoch  string `json:"epoch"`
	Holder int    `json:"holder"`        // pid
	Job    int    `json:"job,omitempty"` // pid, which is also its session and group
	// JobStart is the job's start time as /proc has it: a pid alone may by now be
	// another process.
	JobStart string `json:"jobStart,omitempty"`
	OnExit   string `json:"onExit,omitempty"` // what is run when it ends
	// OOMKills is what oomKills was at the start.
	OOMKills uint64 `json:"oomKillsBefore,omitempty"`
}

// exitRecord is exit.json: how a job ended.
type exitRecord struct {
	Code    int       `json:"code"`             // 128 + signal if a signal ended it
	Signal  string    `json:"signal,omitempty"` // its name
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Output  uint64    `json:"output"`             // bytes the job printed
	Lost    uint64    `json:"lost,omitempty"`     // of them, not in the log
	LogErr  string    `json:"logError,omitempty"` // why
	// Cut says that something the job left behind still held its output when the
	// session ended.
	Cut bool `json:"cut,omitempty"`
	// Left are processes that the job had left running by then.
	Left []leftProcess `json:"left,omitempty"`
	// OOMKills is how many processes the kernel killed meanwhile for lack of memory,
	// if the job did not end well.
	OOMKills uint64 `json:"oomKills,omitempty"`
	OOM      bool   `json:"oom,omitempty"`    // it was the job's own end
	Reason   string `json:"reason,omitempty"` // who ended it, if keyway did
	// Rows and Cols are the size that its terminal had in the end, if it had one.
	Rows uint16 `json:"rows,omitempty"`
	Cols uint16 `json:"cols,omitempty"`
}

// status is what a session does.
type status string

const (
	starting status = "starting"
	running  status = "running"
	finished status = "ended"
	lostIt   status = "lost" // its holder is gone and left no exit record
)

// info is all the registry knows of one session.
type info struct {
	meta
	Status status      `json:"state"`
	Exit   *exitRecord `json:"exit,omitempty"`
	Hook   *hookRecord `json:"onExitEnd,omitempty"` // how what OnExit names has ended
	Left   int         `json:"left,omitempty"`      // processes that it left behind and that still run
	Reason string      `json:"reason,omitempty"`    // why it is lost
	Last   string      `json:"last,omitempty"`      // line that it printed; only in lists
	dir    string
}

func (i info) alive() bool { return i.Status == running || i.Status == starting }

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
	i := info{dir: dir}
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

// readJSON reads a small file of a registry.
func readJSON(path string, v any) error {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMeta))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
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

// claim is a new session's directory, locked for its holder-to-be.
type claim struct {
	name keyway.Name
	dir  string
	lock *os.File // for the holder
	busy *os.File // lets others wait until the session has been started
}

// abandon removes what was claimed.
func (c claim) abandon() {
	os.RemoveAll(c.dir)
	closeAll(c.lock, c.busy)
}

// settle hands the session over to its holder.
func (c claim) settle() {
	os.Remove(c.busy.Name())
	closeAll(c.lock, c.busy)
}

// settled is load, but waits for a session that is being started.
func (r registry) settled(name keyway.Name) (info, error) {
	i, err := r.load(name)
	if err != nil || i.Status != starting {
		return i, err
	}
	if busy, err := openRegular(filepath.Join(i.dir, startName), os.O_RDONLY); err == nil {
		_ = flock(busy, unix.LOCK_SH)
		busy.Close()
	}
	return r.load(name)
}

// create claims a name for a new session. With an empty name it makes one up
// from the command. The record of an ended session of that name is kept under
// NAME.1, NAME.2 and so on; the name of a living one is an error.
func (r registry) create(name keyway.Name, command []string) (claim, error) {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return claim{}, asNoSpace(err, r.dir)
	}
	all, err := os.OpenFile(filepath.Join(r.dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return claim{}, asNoSpace(err, r.dir)
	}
	defer all.Close() // which unlocks
	if err := flock(all, unix.LOCK_EX); err != nil {
		return claim{}, err
	}
	if name == "" {
		name, err = r.freeName(baseName(command), "-")
	} else {
		err = r.makeWay(name)
	}
	if err != nil {
		return claim{}, err
	}
	return r.claim(name)
}

// makeWay moves the record of an ended session out of the way of a new one.
func (r registry) makeWay(name keyway.Name) error {
	old, err := r.load(name)
	switch {
	case keyway.Is(err, keyway.NotFound):
		return nil
	case err != nil:
		return err
	case old.alive():
		return keyway.Errorf(keyway.NameTaken, "%s is already running", r.show(name)).
			Hint("see it:          keyway attach %s\nor end it first: keyway kill %s", r.show(name), r.show(name))
	case old.Status == lostIt && old.Epoch == "":
		return os.RemoveAll(old.dir) // of a start that failed half-way
	}
	free, err := r.freeName(string(name), ".")
	if err != nil {
		return err
	}
	return os.Rename(old.dir, r.path(free))
}

// freeName is base, separator and the first number above all that are in use.
func (r registry) freeName(base, separator string) (keyway.Name, error) {
	base = base[:min(len(base), keyway.MaxName-len(separator)-len(strconv.Itoa(maxSessions)))]
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return "", err
	}
	if len(entries) > maxSessions {
		return "", keyway.Errorf(keyway.Other, "there are more than %d sessions on record", maxSessions).
			Hint("remove the records of the ended ones: keyway rm --ended")
	}
	highest := 0
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), base+separator)
		if n, err := strconv.Atoi(rest); ok && err == nil {
			highest = max(highest, n)
		}
	}
	return keyway.ParseName(fmt.Sprint(base, separator, highest+1))
}

// baseName makes the start of a session's name from a command.
func baseName(command []string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(filepath.Base(command[0])) {
		alnum := r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		if alnum || b.Len() > 0 && strings.ContainsRune("._-", r) {
			b.WriteRune(r)
		}
	}
	switch name := strings.TrimRight(b.String(), "._-"); name {
	case "", "sh", "bash", "dash", "zsh", "env":
		return "job"
	default:
		return name
	}
}

func (r registry) claim(name keyway.Name) (claim, error) {
	c := claim{name: name, dir: r.path(name)}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return claim{}, asNoSpace(err, r.dir)
	}
	var err error
	if c.busy, err = lockedFile(filepath.Join(c.dir, startName)); err == nil {
		c.lock, err = lockedFile(filepath.Join(c.dir, lockName))
	}
	if err != nil {
		c.abandon()
		return claim{}, asNoSpace(err, r.dir)
	}
	return c, nil
}

func lockedFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
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
	return os.RemoveAll(i.dir)
}
