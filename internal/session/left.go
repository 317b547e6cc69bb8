//go:build linux

package session

import (
	"fmt"
	"path/filepath"
	"time"

	"keyway/internal/proctree"

	"golang.org/x/sys/unix"
)

// leftProcess is one that the job had started and that lived when the job had ended.
type leftProcess struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // as /proc has it
}

// leftRunning are those that the session's job has left behind and that still run.
func (i info) leftRunning() []proctree.Process {
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

// leftNews is what to say of n processes that a job has left running.
func leftNews(n int) string {
	if n == 1 {
		return "left 1 process running"
	}
	return fmt.Sprintf("left %d processes running", n)
}

// endLeft ends what the session's job has left running, and reports whether there was
// any.
func (i info) endLeft(grace time.Duration) bool {
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

// killOrphans kills the job of a session whose holder is gone, if it is still
// there, with all of its kernel session.
func (i info) killOrphans() bool {
	if i.Job <= 0 || i.JobStart == "" || i.Epoch != epoch(filepath.Dir(i.path)) {
		return false
	}
	members := sessionMembers(i.Job)
	if start := proctree.StartTime(i.Job); len(members) == 0 || start != "" && start != i.JobStart {
		return false // pids are used again, but not while their session has members
	}
	signalAll(members, unix.SIGKILL)
	return true
}
