//go:build linux

package e2e

import (
	"net"
	"sync"
	"testing"
)

// TestManyChannels opens 200 channels of one connection, and uses them, all at the same time.
func TestManyChannels(t *testing.T) {
	t.Parallel()
	const channels = 200
	w := shared
	port := w.startEcho(t)
	w.tunnel(t, "-D", "127.0.0.1:7602")
	conns := make([]net.Conn, channels)
	for i := range conns {
		conns[i] = socks(t, w, "127.0.0.1:7602", "127.0.0.1", port)
	}
	var all sync.WaitGroup
	for i, c := range conns {
		all.Go(func() {
			if err := echoes(c, 256<<10); err != nil {
				t.Errorf("channel %d: %v", i, err)
			}
		})
	}
	all.Wait()
}

// TestManyConnections opens 20 connections at the same time.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	w := shared
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if r := w.do("ssh", train, "echo hi"); r.Code != 0 || r.Stdout != "hi\n" {
				t.Error(r)
			}
		})
	}
	all.Wait()
}

// TestSlowReader stops reading until every buffer on the route is full, and checks that the output
// is complete afterwards.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	w := shared
	r := w.finish(w.command("sh", "-c", "ssh train 'seq 3000000' | { sleep 3; sha256sum; }; seq 3000000 | sha256sum"), "")
	if r.Code != 0 || len(r.Stdout) != 2*68 || r.Stdout[:68] != r.Stdout[68:] {
		t.Error(r)
	}
}
