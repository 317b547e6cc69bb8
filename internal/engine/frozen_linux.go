package engine

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups is where control groups are.
const cgroups = "/sys/fs/cgroup"

// Frozen reports whether the kernel runs nothing of the workspace at the other end of
// conn, because somebody has paused it. Such a workspace takes connections and answers
// none. It reports false where the control groups cannot be seen.
func Frozen(conn net.Conn) bool {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred // who listens: unix(7)
	if raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}) != nil || err != nil || peer.Pid <= 0 {
		return false
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", peer.Pid))
	return err == nil && frozenIn(cgroups, string(groups))
}

// frozenIn reports whether one of a process's control groups, as /proc/PID/cgroup has
// them, is frozen: cgroups(7), and cgroup-v1/freezer-subsystem of the kernel.
func frozenIn(root, groups string) bool {
	for line := range strings.Lines(groups) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		file, sign := "", ""
		switch controllers {
		case "":
			file, sign = filepath.Join(root, group, "cgroup.events"), "frozen 1\n"
		case "freezer":
			file, sign = filepath.Join(root, controllers, group, "freezer.state"), "FROZEN\n"
		default:
			continue
		}
		if state, err := os.ReadFile(file); err == nil && strings.Contains(string(state), sign) {
			return true
		}
	}
	return false
}
