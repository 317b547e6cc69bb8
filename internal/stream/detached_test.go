package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// leave makes a stream whose path is lost for ever, and calls a function with the server's end.
func (l *lab) leave(t *testing.T, afterwards func(server *Conn)) *Conn {
	t.Helper()
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
	t.Cleanup(func() { client.CloseWithError(io.EOF) })
	exchange(t, client, server, "one")
	time.Sleep(time.Second) // until the client has shown that it has the keys
	line.cut()
	synctest.Wait()
	afterwards(server)
	time.Sleep(time.Second)
	return server
}

// TestDetachedIsBounded checks that a server keeps at most 64 streams without a path, and ends the
// one that has been without for longest.
func TestDetachedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		const kept = 64
		var servers []*Conn
		for range kept + 2 {
			servers = append(servers, l.leave(t, func(*Conn) {}))
		}
		time.Sleep(time.Hour)
		for i, c := range servers {
			if got := errors.Is(c.Err(), ErrExpired); got != (i < len(servers)-kept) {
				t.Errorf("stream %d of %d has ended: %v", i, len(servers), c.Err())
			}
		}
	})
}

// TestDetachedHoldsLittle checks that a server keeps at most 64 MiB for all streams without a path.
func TestDetachedHoldsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		var servers []*Conn
		for range maxDetachedBytes/maxRing + 3 {
			server := l.leave(t, func(server *Conn) {
				server.SetWriteDeadline(time.Now().Add(time.Minute))
				if n, err := server.Write(make([]byte, 2*maxRing)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%d bytes were taken, %v", n, err)
				}
			})
			servers = append(servers, server)
		}
		servers = append(servers, l.leave(t, func(*Conn) {}))
		var held int
		for _, c := range servers {
			if c.Err() == nil {
				held += c.wire.tx.held
			}
		}
		if held > maxDetachedBytes || held < maxDetachedBytes/2 {
			t.Errorf("%d MiB are held", held>>20)
		}
		if servers[0].Err() == nil || servers[len(servers)-1].Err() != nil {
			t.Errorf("the oldest ended by %v, the newest by %v", servers[0].Err(), servers[len(servers)-1].Err())
		}
	})
}
