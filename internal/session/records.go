//go:build linux

package session

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// Files of a session besides its log.
const (
	MetaName = "meta.json"
	lockName = "lock"
	SockName = "sock"
	ExitName = "exit.json"
	ErrName  = "holder.err"
	// HookName is the file with the end of the command of --on-exit.
	HookName = "on-exit.json"
	// startName is locked by the process that starts the session, and removed when the session
	// has been started.
	startName = "starting"
)

// Bounds on reads from the registry, to which jobs can write.
const (
	maxMeta     = 256 << 10
	maxSessions = 10_000
)

// Meta is meta.json: facts about a session that are known from its start.
type Meta struct {
	Name    keyway.Name `json:"name"`
	Command []string    `json:"command"`
	Dir     string      `json:"cwd"`
	TTY     bool        `json:"tty,omitempty"`
	By      string      `json:"by,omitempty"` // user that started it
	Started time.Time   `json:"started"`
	// Epoch changes when the workspace is stopped and started again.
	Epoch  string `json:"epoch"`
	Holder int    `json:"holder"`        // pid
	Job    int    `json:"job,omitempty"` // pid, which is also its process session and group
	// JobStart is the job's start time as in /proc: another process may have the pid by now.
	JobStart string `json:"jobStart,omitempty"`
	OnExit   string `json:"onExit,omitempty"` // command to run when it ends
	// OOMKills is the value of the counter at the start.
	OOMKills uint64 `json:"oomKillsBefore,omitempty"`
}

// ExitRecord is exit.json: how a job ended.
type ExitRecord struct {
	Code    int       `json:"code"`             // 128 + signal if a signal ended it
	Signal  string    `json:"signal,omitempty"` // its name
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`     // zero: with the workspace, when that was stopped
	Output  uint64    `json:"output"`             // bytes the job printed
	Lost    uint64    `json:"lost,omitempty"`     // those that are not in the log
	LogErr  string    `json:"logError,omitempty"` // why
	// Cut reports whether a process that the job left behind still held its output open when
	// the session ended.
	Cut bool `json:"cut,omitempty"`
	// Left are the processes that the job had left running.
	Left []LeftProcess `json:"left,omitempty"`
	// OOMKills is the number of processes that the kernel has killed for lack of memory since
	// the start, if the job failed.
	OOMKills uint64 `json:"oomKills,omitempty"`
	OOM      bool   `json:"oom,omitempty"`    // the job itself was killed for that
	Reason   string `json:"reason,omitempty"` // why keyway ended it, if it did
	// Rows and Cols are the last size of its terminal, if it had one.
	Rows uint16 `json:"rows,omitempty"`
	Cols uint16 `json:"cols,omitempty"`
}

// State is the state of a session.
type State string

// The states of a session.
const (
	Starting State = "starting"
	Running  State = "running"
	Ended    State = "ended"
	Lost     State = "lost" // its holder is gone without an exit record
)

// End describes the end of a job.
type End struct {
	Code   int
	Signal unix.Signal // 0: none
}

// Info holds everything that the registry knows of one session.
type Info struct {
	Meta
	Status State       `json:"state"`
	Exit   *ExitRecord `json:"exit,omitempty"`
	Hook   *HookRecord `json:"onExitEnd,omitempty"` // how the command of OnExit has ended
	Left   int         `json:"left,omitempty"`      // processes that it left behind and that still run
	Reason string      `json:"reason,omitempty"`    // why it is lost
	Last   string      `json:"last,omitempty"`      // last line that it printed; only in lists
	Path   string      `json:"-"`                   // its directory
}

// Alive reports whether the session runs or is being started.
func (i Info) Alive() bool { return i.Status == Running || i.Status == Starting }

// readJSON reads a small file of a registry.
func readJSON(path string, v any) error {
	f, err := OpenRegular(path, os.O_RDONLY)
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

// HookRecord is on-exit.json.
type HookRecord struct {
	Code   int    `json:"code"`             // 128 + signal if a signal ended it
	Signal string `json:"signal,omitempty"` // its name
	Error  string `json:"error,omitempty"`  // why it did not run
}

// Failure returns briefly how the command failed, or empty if it did not.
func (r *HookRecord) Failure() string {
	switch {
	case r == nil:
		return ""
	case r.Error != "":
		return r.Error
	case r.Signal != "":
		return r.Signal
	case r.Code != 0:
		return fmt.Sprint("exit code ", r.Code)
	}
	return ""
}

// String returns in words how a session ended.
func (s End) String() string {
	if s.Signal != 0 {
		return "was ended by " + SignalName(s.Signal)
	}
	return fmt.Sprint("ended: exit code ", s.Code)
}

// WorkspaceStopped is the Reason of a session that ended because its workspace did.
const WorkspaceStopped = "the workspace was stopped"

// stopped returns the exit record of a session whose holder was killed with the workspace: no job
// outlives that.
func (i Info) stopped() *ExitRecord {
	return &ExitRecord{
		Code: 128 + int(unix.SIGKILL), Signal: SignalName(unix.SIGKILL), Started: i.Started, Output: logged(i.Path),
		Reason: WorkspaceStopped,
	}
}

// logged returns the offset at which the log in dir ends.
func logged(dir string) (end uint64) {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		digits, isLog := strings.CutSuffix(f.Name(), ".log")
		start, err := strconv.ParseUint(digits, 10, 64)
		if st, statErr := f.Info(); isLog && err == nil && statErr == nil {
			end = max(end, start+uint64(st.Size()))
		}
	}
	return end
}

// End returns the job's end.
func (r *ExitRecord) End() *End { return &End{r.Code, SignalNum(r.Signal)} }
