//go:build linux

package guest

import (
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// gatherTime is how long writes are held back at most. A program that only
	// exits does so within a millisecond; nobody notices two.
	gatherTime = 2 * time.Millisecond
	// maxGathered bounds in bytes what is held back.
	maxGathered = 16 << 10
)

// gatherer is a connection that can hold back what is written to it for a moment,
// so that packets which belong together leave in one write.
//
// Up to OpenSSH 10.0 a jump host does not set TCP_NODELAY for what it forwards:
// its TCP keeps a second small segment until the first is acknowledged. Without
// gathering, the exit status of a short command waits a whole round trip behind
// the news that the command was accepted.
//
// A connection carries many channels, and a hold is in the interest of one of
// them: what another writes ends it (see prompt), so that nobody's keystroke waits
// for somebody else's program.
type gatherer struct {
	net.Conn
	limit time.Duration // gatherTime, but for tests

	mu    sync.Mutex
	timer *time.Timer // flushes; nil while nothing is held back
	by    ssh.Channel // on whose behalf
	held  []byte
}

// hold holds back what is written from now on until flush, or for limit, on behalf
// of a channel. A hold that has begun is not prolonged.
func (g *gatherer) hold(by ssh.Channel) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer == nil {
		g.timer, g.by = time.AfterFunc(g.limit, g.flush), by
	}
}

// flush ends a hold. A write that fails is left to the next one to tell.
func (g *gatherer) flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer == nil {
		return
	}
	g.timer.Stop()
	g.timer, g.by = nil, nil
	_, _ = g.writeLocked(nil)
}

// release ends a hold, unless it is on behalf of that channel.
func (g *gatherer) release(by ssh.Channel) {
	g.mu.Lock()
	others := g.timer != nil && g.by != by
	g.mu.Unlock()
	if others {
		g.flush()
	}
}

// prompt writes to a channel what somebody may be waiting for. It waits for no
// hold but one on behalf of the same channel.
type prompt struct {
	io.Writer
	out *gatherer
	by  ssh.Channel // nil: for no hold at all
}

// Write implements io.Writer.
func (p prompt) Write(b []byte) (int, error) {
	n, err := p.Writer.Write(b)
	p.out.release(p.by)
	return n, err
}

// Write implements net.Conn.
func (g *gatherer) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer != nil && len(g.held)+len(p) <= maxGathered {
		g.held = append(g.held, p...)
		return len(p), nil
	}
	return g.writeLocked(p)
}

// writeLocked writes what is held back and p, in one piece.
func (g *gatherer) writeLocked(p []byte) (int, error) {
	if len(g.held) == 0 {
		if len(p) == 0 {
			return 0, nil
		}
		return g.Conn.Write(p)
	}
	all := append(g.held, p...)
	g.held = nil
	if _, err := g.Conn.Write(all); err != nil {
		return 0, err
	}
	return len(p), nil
}
