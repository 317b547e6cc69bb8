package agent

import (
	"fmt"

	"keyway/internal/proctree"
)

// peer is the local process at the other end of a connection, as far as the
// system tells.
type peer struct {
	pid   int
	uid   int
	known bool
}

// mayConnect returns an error if a user may not use the agent of another. It returns nil for
// the same user and for root, which controls the agent anyway.
func mayConnect(uid, me int) error {
	if uid != 0 && uid != me {
		return fmt.Errorf("user %d is not user %d, whose agent this is", uid, me)
	}
	return nil
}

// maxAncestors bounds how far back programs looks.
const maxAncestors = 32

// programs returns the peer's program and its ancestors that still run, the nearest first.
func (p peer) programs() (paths []string) {
	for pid := p.pid; pid > 1 && len(paths) < maxAncestors; pid = parent(pid) {
		paths = append(paths, peer{pid: pid, known: true}.program())
	}
	return paths
}

// parent returns the parent of a process, or 0 if it is not known.
func parent(pid int) int {
	p, _ := proctree.Read(pid)
	return p.Parent
}

// program returns the peer's program, for the log. The process may have ended since, so no
// decision depends on it.
func (p peer) program() string {
	if !p.known || p.pid <= 0 {
		return ""
	}
	return proctree.Program(p.pid)
}
