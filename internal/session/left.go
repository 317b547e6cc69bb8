//go:build linux

package session

import (
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
)

// LeftProcess is a process that the job started and that still lived when the job had ended.
type LeftProcess struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // as in /proc
}

// leftRunning returns the processes that the session's job has left behind and that still run.
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

// LeftNews returns the sentence about n processes that a job has left running.
func LeftNews(n int) string {
	if n == 1 {
		return "left 1 process running"
	}
	return fmt.Sprintf("left %d processes running", n)
}

// EndLeft ends the processes that the session's job has left running, and reports whether there
// were any. They have grace to end by themselves. If grace is 0, they are killed at once.
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

// KillOrphans kills the job of a session whose holder is gone, and all of its process session.
// It reports whether the job still lived.
func (i Info) KillOrphans() bool {
	if i.Job <= 0 || i.JobStart == "" || i.Epoch != Epoch(filepath.Dir(i.Path)) {
		return false
	}
	members := sessionMembers(i.Job)
	if start := proctree.StartTime(i.Job); len(members) == 0 || start != "" && start != i.JobStart {
		return false // pids are reused, but not while their process session has members
	}
	signalAll(members, unix.SIGKILL)
	return true
}
