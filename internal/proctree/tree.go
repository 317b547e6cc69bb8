//go:build linux

package proctree

import "slices"

// Tree is processes at one moment, by who started whom.
type Tree map[int][]Process

// NewTree makes the tree of all.
func NewTree(all []Process) Tree {
	t := Tree{}
	for _, p := range all {
		t[p.Parent] = append(t[p.Parent], p)
	}
	return t
}

// adopt makes those of all that have lost their parent children of the leader of their
// session: its end would hang up their terminal.
func adopt(all []Process) {
	there := map[int]bool{}
	for i := range all {
		there[all[i].PID] = true
	}
	for i := range all {
		if p := &all[i]; !there[p.Parent] && there[p.Session] && p.Session != p.PID {
			p.Parent = p.Session
		}
	}
}

// Children returns the children of pid, dead or alive. Those of process 1 include the
// processes that were put into its container from outside.
func (t Tree) Children(pid int) []Process {
	if pid == 1 {
		return append(slices.Clip(t[1]), t[0]...)
	}
	return t[pid]
}

// Below returns the living processes that root started, directly or not. Processes for
// which foreign reports true are left out, with all below them; a nil foreign leaves
// none out.
//
// If root is a subreaper (prctl(2)), a process that loses its parent becomes root's own
// child and is still found.
func (t Tree) Below(root int, foreign func(Process) bool) []Process {
	var found []Process
	seen := map[int]bool{root: true}
	for queue := slices.Clone(t.Children(root)); len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		if seen[p.PID] || foreign != nil && foreign(p) {
			continue
		}
		seen[p.PID] = true
		if !p.Zombie {
			found = append(found, p)
		}
		queue = append(queue, t.Children(p.PID)...)
	}
	return found
}
