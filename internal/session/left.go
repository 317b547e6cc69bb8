//go:build linux

package session

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
)

// leftProcess is one that the job had started and that lived when the job had ended.
type leftProcess struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // as /proc has it
}

const (
	// maxLeft bounds how many are on record, which has little space.
	maxLeft = 40
	// leftMoment is what those that end with the job may take for it.
	leftMoment = 100 * time.Millisecond
)

// leftBehind are the processes that the job has left running.
func leftBehind() []leftProcess {
	deadline := time.Now().Add(leftMoment)
	all := descendants(os.Getpid())
	for len(all) > 0 && time.Now().Before(deadline) {
		time.Sleep(turnPoll)
		all = descendants(os.Getpid())
	}
	var left []leftProcess
	for _, p := range all[:min(len(all), maxLeft)] {
		left = append(left, leftProcess{p.PID, p.Start})
	}
	return left
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
		time.Sleep(turnPoll)
	}
	return true
}

// dying reports whether the kernel or somebody has killed a process that still shows.
func dying(pid int) bool {
	p, err := proctree.Read(pid)
	return err != nil || p.Exiting || proctree.Pending(pid, unix.SIGKILL)
}
