package engine

import (
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
)

// cgroups is the directory of the control groups.
const cgroups = "/sys/fs/cgroup"

// Frozen reports whether the workspace at the other end of conn is paused, so that the kernel runs
// none of its processes. Such a workspace accepts connections and answers none. Where control
// groups cannot be seen, Frozen reports false.
func Frozen(conn net.Conn) bool {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred // the listening process: unix(7)
	if raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}) != nil || err != nil || peer.Pid <= 0 {
		return false
	}
	groups, err := proctree.Groups(int(peer.Pid))
	return err == nil && frozenIn(cgroups, groups)
}

// frozenIn reports whether one of a process's control groups is frozen: cgroups(7), and cgroup-v1/freezer-subsystem of the kernel.
func frozenIn(root string, groups []proctree.Group) bool {
	for _, g := range groups {
		file, sign := "", ""
		switch g.Controllers {
		case "":
			file, sign = filepath.Join(root, g.Path, "cgroup.events"), "frozen 1\n"
		case "freezer":
			file, sign = filepath.Join(root, g.Controllers, g.Path, "freezer.state"), "FROZEN\n"
		default:
			continue
		}
		if state, err := os.ReadFile(file); err == nil && strings.Contains(string(state), sign) {
			return true
		}
	}
	return false
}
