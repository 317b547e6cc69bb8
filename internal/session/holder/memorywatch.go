//go:build linux

package holder

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// memoryPoll is the interval at which a holder reads the kernel's counter.
	memoryPoll = time.Second
	// victimMost is the least memory, in KiB, that a victim of the kernel has used: the kernel
	// takes the process that has the most.
	victimMost = 16 << 10
)

// watchMemory notes kills for lack of memory that happened while the job lived on: none of them was
// the job's.
func (h *holder) watchMemory() {
	if n := h.oom.Kills(); n > h.spared.Load() && !dying(h.job.pid) {
		h.spared.Store(n)
	}
}

// outOfMemory reports whether the kernel has ended the job for lack of memory. The kernel counts
// its victims, but does not name them. So the answer is no if the holder has killed the job, if the
// count has not grown since the job was last known to live, or if the job and its children have
// used little memory.
func (h *holder) outOfMemory(s jobStatus) bool {
	if h.killed() || h.oom.Kills() <= h.spared.Load() {
		return false
	}
	if s.Signal != 0 {
		return s.Signal == unix.SIGKILL && s.memory >= victimMost && s.ownFaults
	}
	return s.Code == 128+int(unix.SIGKILL) // a shell's exit code after its program was killed
}
