//go:build !linux

package guest

import (
	"fmt"
	"os"
)

// Main fails, because there is no guest for this system: workspaces are Linux containers or
// Linux hosts.
func Main([]string) int {
	fmt.Fprintln(os.Stderr, "keyway-guest: workspaces run on Linux only")
	return 1
}
