package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// peer is the local process at the other end of a connection, as far as the
// system tells.
type peer struct {
	pid   int
	uid   int
	known bool
}

// mayConnect says why a user may not ask the agent of another; nil: they are the same,
// or it is root, which has the agent anyway.
func mayConnect(uid, me int) error {
	if uid != 0 && uid != me {
		return fmt.Errorf("user %d is not user %d, whose agent this is", uid, me)
	}
	return nil
}

// maxAncestors bounds how far back programs looks.
const maxAncestors = 32

// programs are the peer's program and those that started it, as far as they are
// still there, the nearest first.
func (p peer) programs() (paths []string) {
	for pid := p.pid; pid > 1 && len(paths) < maxAncestors; pid = parent(pid) {
		paths = append(paths, peer{pid: pid, known: true}.program())
	}
	return paths
}

// parent is the parent of a process, 0 if that is not known (proc_pid_stat(5)).
func parent(pid int) int {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(fields[1])
	return n
}

// program is the peer's program, for the log. It may have gone since, and is no
// fact that anything is decided by.
func (p peer) program() string {
	if !p.known || p.pid <= 0 {
		return ""
	}
	path, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(p.pid), "exe"))
	if err != nil {
		return ""
	}
	return path
}
