//go:build linux

package session

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// Living counts the sessions that run in the workspace with that home.
func Living(home keyway.Home) (int, error) {
	list, err := openRegistry(home).list()
	n := 0
	for _, i := range list {
		if i.alive() {
			n++
		}
	}
	return n, err
}

// EndAll ends all sessions of a workspace that is about to stop: their jobs get
// SIGTERM, and SIGKILL after four seconds, and their records say why. It
// returns when all have ended or ctx has.
func EndAll(ctx context.Context, home keyway.Home) error {
	list, err := openRegistry(home).list()
	var all sync.WaitGroup
	for _, i := range list {
		if i.Status == running {
			all.Go(func() { i.endAndWait(ctx) })
		}
	}
	all.Wait()
	return err
}

// endAndWait connects before it sends the signal: the end of that connection is
// how it learns that the session has ended.
func (i info) endAndWait(ctx context.Context) {
	conn, err := connect(i.dir, hello{})
	if err != nil {
		return // ended just now
	}
	defer conn.close()
	defer context.AfterFunc(ctx, conn.close)()
	_ = unix.Kill(i.Holder, unix.SIGTERM)
	_, _ = conn.pump(discard{})
}
