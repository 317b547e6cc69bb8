//go:build !linux

package engine

import (
	"context"
	"net"

	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// Dial connects to the guest that serves in home.
func Dial(_ context.Context, home keyway.Home) (net.Conn, error) {
	return unixsock.Dial(home.Socket())
}

// Frozen reports false: this system does not show it.
func Frozen(net.Conn) bool { return false }
