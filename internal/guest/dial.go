//go:build linux

package guest

import (
	"os"

	"keyway/internal/keyway"
	"keyway/internal/pipe"
	"keyway/internal/unixsock"
)

// dialMain relays standard input and output to the guest's socket, for places where the
// node cannot reach the socket itself.
func dialMain(home keyway.Home, _ []string) int {
	conn, err := unixsock.Dial(home.Socket())
	if err != nil {
		return fail(os.Stderr, keyway.Errorf(keyway.NotRunning, "the guest does not answer: %w", err))
	}
	defer conn.Close()
	if err := pipe.Stdio(conn, os.Stdin, os.Stdout); err != nil {
		return fail(os.Stderr, err)
	}
	return 0
}
