//go:build linux

package session

import (
	"os"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
)

// Descendants returns the living processes that root started, directly or not. A holder among
// them belongs to another session, so it and its descendants do not count. root is a subreaper:
// a process that loses its parent becomes root's own child and is still found.
func Descendants(root int) []proctree.Process {
	return proctree.NewTree(proctree.All()).Below(root, func(p proctree.Process) bool { return IsHolder(p.PID) })
}

// HolderWord is the guest program's argument that makes it a holder.
const HolderWord = "holder"

// IsHolder reports whether a process is the holder of a session.
func IsHolder(pid int) bool {
	program := proctree.Program(pid)
	if program == "" || program != proctree.Program(os.Getpid()) {
		return false
	}
	words, err := proctree.CommandLine(pid)
	return err == nil && len(words) > 1 && words[1] == HolderWord
}

// sessionMembers returns the living processes of a process session.
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
