//go:build linux

package holder

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
	"keyway/internal/session"
)

const (
	// maxLeft bounds how many are on record, which has little space.
	maxLeft = 40
	// leftMoment is what those that end with the job may take for it.
	leftMoment = 100 * time.Millisecond
)

// leftBehind are the processes that the job has left running.
func leftBehind() []session.LeftProcess {
	deadline := time.Now().Add(leftMoment)
	all := session.Descendants(os.Getpid())
	for len(all) > 0 && time.Now().Before(deadline) {
		time.Sleep(proctree.TurnPoll)
		all = session.Descendants(os.Getpid())
	}
	var left []session.LeftProcess
	for _, p := range all[:min(len(all), maxLeft)] {
		left = append(left, session.LeftProcess{PID: p.PID, Start: p.Start})
	}
	return left
}

// dying reports whether the kernel or somebody has killed a process that still shows.
func dying(pid int) bool {
	p, err := proctree.Read(pid)
	return err != nil || p.Exiting || proctree.Pending(pid, unix.SIGKILL)
}
