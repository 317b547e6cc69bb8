//go:build linux

package words

import (
	"os"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
	"keyway/internal/session"
)

// showsItself reports whether this process would show a session on that session's own terminal:
// its output would become its next input. It does if it was started in the session, in whatever
// way, or has that terminal. (An environment variable would also be set for processes that were
// started elsewhere with it, and could be missing.)
func (c *cli) showsItself(i session.Info) bool {
	return i.Alive() && (startedBy(i, os.Getpid()) || isTerminalOf(i, c.In, c.Out))
}

// startedBy reports whether a process descends from the session's job. The descendants of
// another session that the job has started belong to that one. Most processes are no
// descendants, and that is found out fastest.
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
		if uint64(job.Terminal) == major<<8|minor&0xff|minor&^0xff<<12 { // the format of proc(5)
			return true
		}
	}
	return false
}
