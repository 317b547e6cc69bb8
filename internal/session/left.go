//go:build linux

package session

import (
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
)

// LeftProcess is one that the job had started and that lived when the job had ended.
type LeftProcess struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // as /proc has it
}

// leftRunning are those that the session's job has left behind and that still run.
func (i Info) leftRunning() []proctree.Process {
	var living []proctree.Process
	if i.Exit == nil {
		return nil
	}
	for _, l := range i.Exit.Left {
		if p, err := proctree.Read(l.PID); err == nil && p.Start == l.Start && !p.Zombie {
			living = append(living, p)
		}
	}
	return living
}

// LeftNews is what to say of n processes that a job has left running.
func LeftNews(n int) string {
	if n == 1 {
		return "left 1 process running"
	}
	return fmt.Sprintf("left %d processes running", n)
}

// EndLeft ends the processes that the session's job has left running, and reports whether
// there were any. They have the time grace to end by themselves; without any, they are
// killed at once.
func (i Info) EndLeft(grace time.Duration) bool {
	left := i.leftRunning()
	if len(left) == 0 {
		return false
	}
	now := time.Now()
	e := proctree.NewEnding(now.Add(grace))
	if grace <= 0 {
		e.Hurry(now)
	}
	for ; len(left) > 0 && !e.Hopeless(now); left = i.leftRunning() {
		tree, all := proctree.NewTree(proctree.All()), left
		for _, p := range left {
			all = append(all, tree.Below(p.PID, nil)...)
		}
		now = time.Now()
		e.Step(now, all, left)
		time.Sleep(proctree.TurnPoll)
	}
	return true
}

// KillOrphans kills the job of a session whose holder is gone, if it is still
// there, with all of its kernel session.
func (i Info) KillOrphans() bool {
	if i.Job <= 0 || i.JobStart == "" || i.Epoch != Epoch(filepath.Dir(i.Path)) {
		return false
	}
	members := sessionMembers(i.Job)
	if start := proctree.StartTime(i.Job); len(members) == 0 || start != "" && start != i.JobStart {
		return false // pids are used again, but not while their session has members
	}
	signalAll(members, unix.SIGKILL)
	return true
}
