package gpu

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
)

// machine is the table of processes of this machine.
type machine struct{}

// boot names the time since the machine was started: process numbers begin anew.
var boot = sync.OnceValue(func() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
})

func (machine) boot() string { return boot() }

// start is when the process was started, in the kernel's ticks; empty: there is none.
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
	_, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid)))
	return err != nil && errors.Is(unix.Kill(pid, 0), unix.EPERM)
}

// parent is the process that pid is a child of; 0: none, or not told.
func (machine) parent(pid int) int {
	p, err := proctree.Read(pid)
	if err != nil {
		return 0
	}
	return p.Parent
}

// owner is the user whose process it is.
func (machine) owner(pid int) (uid int, ok bool) {
	st, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid)))
	if err != nil {
		return 0, false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(sys.Uid), true
}

// maxComm is the longest name of a process in bytes, TASK_COMM_LEN of the kernel.
const maxComm = 16

// command is the name of the process's program, as far as the kernel keeps it.
func (machine) command(pid int) string {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil || len(data) > 4*maxComm {
		return ""
	}
	return text(string(data))
}

// cgroup is where the process is in the tree of control groups; empty: not told, or
// in none of its own.
func (machine) cgroup(pid int) string {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	if err != nil || len(data) > 64<<10 {
		return ""
	}
	return string(data)
}
