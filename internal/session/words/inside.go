//go:build linux

package words

import (
	"os"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
	"keyway/internal/session"
)

// showsItself reports whether this process shows a session on that session's own
// terminal: what it prints would be what it is to print next. It runs there if it was
// started there, by whatever way, or has that terminal. (A variable would say the same
// of what was started elsewhere with it, and nothing where it was left out.)
func (c *cli) showsItself(i session.Info) bool {
	return i.Alive() && (startedBy(i, os.Getpid()) || isTerminalOf(i, c.In, c.Out))
}

// startedBy reports whether a process descends from the session's job. What a job starts
// as a session of its own belongs to that. Most processes do not descend from it, which
// is told soonest.
func startedBy(i session.Info, pid int) bool {
	var between []int
	for pid != i.Holder {
		p, err := proctree.Read(pid)
		if err != nil || p.Parent <= 1 {
			return false
		}
		between = append(between, pid)
		pid = p.Parent
	}
	for _, pid := range between {
		if session.IsHolder(pid) {
			return false
		}
	}
	return true
}

// isTerminalOf reports whether one of the files is the terminal of the session's job.
func isTerminalOf(i session.Info, files ...*os.File) bool {
	job, err := proctree.Read(i.Job)
	if err != nil || job.Terminal == 0 || job.Start != i.JobStart {
		return false
	}
	for _, f := range files {
		var st unix.Stat_t
		if unix.Fstat(int(f.Fd()), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
			continue
		}
		major, minor := uint64(unix.Major(st.Rdev)), uint64(unix.Minor(st.Rdev))
		if uint64(job.Terminal) == major<<8|minor&0xff|minor&^0xff<<12 { // as proc(5) has it
			return true
		}
	}
	return false
}
