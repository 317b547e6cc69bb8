//go:build linux

package session

import (
	"keyway/internal/proctree"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

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
		time.Sleep(proctree.TurnPoll)
		all = descendants(os.Getpid())
	}
	var left []leftProcess
	for _, p := range all[:min(len(all), maxLeft)] {
		left = append(left, leftProcess{p.PID, p.Start})
	}
	return left
}

// dying reports whether the kernel or somebody has killed a process that still shows.
func dying(pid int) bool {
	p, err := proctree.Read(pid)
	return err != nil || p.Exiting || proctree.Pending(pid, unix.SIGKILL)
}
