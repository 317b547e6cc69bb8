package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A server keeps 64 streams without a path; the one alone for longest goes first.
func TestDetachedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		const kept = 64
		var servers []*Conn
		for range kept + 2 {
			line, dialled := newLine(), false
			client, server := l.pair(func(c *Config) {
				c.Dial = func(context.Context) (net.Conn, error) {
					if dialled {
						return nil, errCut
					}
					dialled = true
					l.serve(line.far)
					return line.near, nil
				}
			})
			defer client.CloseWithError(io.EOF)
			exchange(t, client, server, "one")
			servers = append(servers, server)
			time.Sleep(time.Second) // until the client has shown that it has the keys
			line.cut()
		}
		time.Sleep(time.Hour)
		for i, c := range servers {
			if got := errors.Is(c.Err(), ErrExpired); got != (i < len(servers)-kept) {
				t.Errorf("stream %d of %d has ended: %v", i, len(servers), c.Err())
			}
		}
	})
}
