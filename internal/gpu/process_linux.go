package gpu

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
)

// machine is the table of processes of this machine.
type machine struct{}

func (machine) boot() string { return proctree.Boot() }

// start returns the start time of the process, in the kernel's ticks; empty if there is no such
// process.
func (machine) start(pid int) string {
	p, err := proctree.Read(pid)
	if err != nil || p.Zombie {
		return ""
	}
	return p.Start
}

// alive reports whether the process that was started then lives. Where other users'
// processes are hidden (hidepid of proc(5)), one with that number must do.
func (m machine) alive(pid int, start string) bool {
	if now := m.start(pid); now != "" {
		return now == start
	}
	return proctree.Hidden(pid) && errors.Is(unix.Kill(pid, 0), unix.EPERM)
}

// parent returns the parent of pid, or 0 if it has none or it is not shown.
func (machine) parent(pid int) int {
	p, _ := proctree.Read(pid)
	return p.Parent
}

// owner returns the user of the process.
func (machine) owner(pid int) (uid int, ok bool) { return proctree.Owner(pid) }

// command returns the name of the process's program, as far as the kernel keeps it.
func (machine) command(pid int) string { return text(proctree.Name(pid)) }

// cgroup returns the control group of the process; empty if unknown or the root.
func (machine) cgroup(pid int) string {
	groups, err := proctree.Groups(pid)
	if err != nil || len(groups) == 0 {
		return ""
	}
	return fmt.Sprint(groups)
}
