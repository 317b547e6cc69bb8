//go:build linux

package guest

import (
	"io"
	"os"

	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// dialMain relays standard input and output to the guest's socket, for places
// where the socket itself cannot be reached.
func dialMain(home keyway.Home, _ []string) int {
	conn, err := unixsock.Dial(home.Socket())
	if err != nil {
		return fail(os.Stderr, keyway.Errorf(keyway.NotRunning, "the guest does not answer: %w", err))
	}
	defer conn.Close()
	if err := relayStdio(conn, os.Stdin, os.Stdout); err != nil {
		return fail(os.Stderr, err)
	}
	return 0
}

// relayStdio returns when the guest has sent its last byte. The goroutine that
// reads in is left behind then: a read of a terminal or pipe that somebody else
// holds open cannot be ended, and the process is about to end.
func relayStdio(conn interface {
	io.ReadWriter
	CloseWrite() error
}, in io.Reader, out io.Writer,
) error {
	go func() {
		copyPooled(conn, in)
		conn.CloseWrite()
	}()
	return copyPooled(out, conn)
}
