//go:build linux

package holder

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// memoryPoll is how often a holder looks whether the kernel has killed somebody.
	memoryPoll = time.Second
	// victimMost is what the kernel's victim has used at least, in KiB: it takes the one
	// that has the most.
	victimMost = 16 << 10
)

// watchMemory takes note of processes that the kernel has killed for lack of memory
// while the job lived on: none of them was the job.
func (h *holder) watchMemory() {
	if n := h.oom.Kills(); n > h.spared.Load() && !dying(h.job.pid) {
		h.spared.Store(n)
	}
}

// outOfMemory reports whether it was the kernel, for lack of memory, that has ended the
// job. The kernel does not say whom it has killed, only how many. So it was not if the
// holder has killed the job, if the number has not grown since the job was last seen
// alive, or if the job has used little memory, compared with what it has started, too.
func (h *holder) outOfMemory(s jobStatus) bool {
	if h.killed() || h.oom.Kills() <= h.spared.Load() {
		return false
	}
	if s.Signal != 0 {
		return s.Signal == unix.SIGKILL && s.memory >= victimMost && s.ownFaults
	}
	return s.Code == 128+int(unix.SIGKILL) // a shell's word for the end of what it ran
}
