//go:build unix

package main

import (
	"context"
	"net"

	"keyway/internal/jupyter/feed"
	"keyway/internal/jupyter/front"
	"keyway/internal/jupyter/hold"
)

// upstream returns the child's access to the Jupyter server. The parent also holds the connections
// to kernels.
func upstream(s server, lines *hold.Lines) front.Upstream {
	return front.Upstream{
		Dial: s.dial, Base: s.Base, Token: s.Token,
		Left: lines.Left,
		Feed: func(ctx context.Context, kernel string) (net.Conn, error) {
			if l := lines.Take(kernel); l != nil {
				return feed.Resume(l)
			}
			c, err := s.dial(ctx)
			if err != nil {
				return nil, err
			}
			return feed.New(c, false)
		},
		Hold: func(conn net.Conn, kernel, protocol string) error {
			if f, ok := conn.(*feed.Feed); ok {
				return f.Hold(func(c net.Conn) (*hold.Line, error) { return lines.Hold(kernel, protocol, c) })
			}
			return nil
		},
	}
}

// Descriptors of a child beside the standard ones.
const (
	listenerFD = 3 + iota
	linesFD
)
