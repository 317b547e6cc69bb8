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
	// maxLeft bounds the processes in the record, which has little space.
	maxLeft = 40
	// leftMoment is the time that processes that end with the job may take.
	leftMoment = 100 * time.Millisecond
)

// leftBehind returns the processes that the job has left running.
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

// dying reports whether a process that still shows has been killed.
func dying(pid int) bool {
	p, err := proctree.Read(pid)
	return err != nil || p.Exiting || proctree.Pending(pid, unix.SIGKILL)
}
