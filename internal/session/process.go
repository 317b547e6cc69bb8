//go:build linux

package session

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
)

// Descendants are the living processes that root started, directly or not. A
// holder among them belongs to another session, so it and what it started do
// not count. root is a subreaper: what loses its parent becomes root's own child
// and is still found.
func Descendants(root int) []proctree.Process {
	return proctree.NewTree(proctree.All()).Below(root, func(p proctree.Process) bool { return IsHolder(p.PID) })
}

// HolderWord is the guest program's argument that makes it a holder.
const HolderWord = "holder"

// IsHolder reports whether a process is the holder of a session.
func IsHolder(pid int) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	program, err := os.Readlink(filepath.Join(dir, "exe"))
	if self, selfErr := os.Readlink("/proc/self/exe"); err != nil || selfErr != nil || program != self {
		return false
	}
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	words := strings.SplitN(string(line), "\x00", 3)
	return err == nil && len(words) == 3 && words[1] == HolderWord
}

// sessionMembers are the living processes of a kernel session.
func sessionMembers(sid int) []int {
	var found []int
	for _, p := range proctree.All() {
		if p.Session == sid && !p.Zombie {
			found = append(found, p.PID)
		}
	}
	return found
}

func signalAll(pids []int, sig unix.Signal) {
	for _, pid := range pids {
		_ = unix.Kill(pid, sig)
	}
}
