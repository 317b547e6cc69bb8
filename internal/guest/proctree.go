//go:build linux

package guest

import (
	"os"

	"keyway/internal/proctree"
)

// descendants returns the pids of the workspace's living processes, without this one.
func descendants() []int {
	var pids []int
	for _, p := range proctree.NewTree(proctree.All()).Below(os.Getpid(), nil) {
		pids = append(pids, p.PID)
	}
	return pids
}
