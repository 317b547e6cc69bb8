package link

import (
	"context"
	"net"
	"time"

	"keyway/internal/unixsock"
)

func dialLink(socket string) (*net.UnixConn, error) { return unixsock.Dial(socket) }

// goneInterval is the interval at which a stopping link is checked: its socket closes with its
// process, and nothing announces that.
const goneInterval = 5 * time.Millisecond

// awaitGone waits until no process answers on socket.
func awaitGone(ctx context.Context, socket string) error {
	t := time.NewTicker(goneInterval)
	defer t.Stop()
	for {
		conn, err := dialLink(socket)
		if err != nil {
			return nil
		}
		conn.Close()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}
