//go:build linux

package guest

import (
	"os"
	"strings"

	"keyway/internal/keyway"
)

// gpusMain prints the GPUs that the workspace has, by the names of their device files:
// nvidia0 and so on.
func gpusMain(keyway.Home, []string) int {
	entries, err := os.ReadDir("/dev")
	if err != nil {
		return fail(os.Stderr, err)
	}
	out := keyway.GPUsHeader + "\n"
	for _, e := range entries {
		number, found := strings.CutPrefix(e.Name(), "nvidia")
		if found && number != "" && strings.Trim(number, "0123456789") == "" {
			out += e.Name() + "\n"
		}
	}
	if _, err := os.Stdout.WriteString(out); err != nil {
		return fail(os.Stderr, err)
	}
	return 0
}
