//go:build linux

package guest

import (
	"os"

	"keyway/internal/proctree"
)

// descendants are the living processes of the workspace, but for this one.
func descendants() []int {
	var pids []int
	for _, p := range proctree.NewTree(proctree.All()).Below(os.Getpid(), nil) {
		pids = append(pids, p.PID)
	}
	return pids
}
