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
	// gatherTime is the longest time that writes are held back. A program that only exits does so
	// within a millisecond, and users do not notice two.
	gatherTime = 2 * time.Millisecond
	// maxGathered bounds the bytes that are held back.
	maxGathered = 16 << 10
)

// gatherer is a connection that can hold writes back for a moment, so that packets that
// belong together leave in one write.
//
// Up to OpenSSH 10.0, a jump host does not set TCP_NODELAY for connections that it
// forwards: its TCP keeps a second small segment until the first is acknowledged. Without
// gathering, a short command's exit status arrives a whole round trip after the answer that
// accepted the command.
//
// A connection carries many channels, but a hold serves only one of them. A write by
// another channel ends the hold (see prompt), so that no keystroke waits for another user's
// program.
type gatherer struct {
	net.Conn
	limit time.Duration // gatherTime, except in tests

	mu    sync.Mutex
	timer *time.Timer // flushes; nil while nothing is held back
	by    ssh.Channel // the channel that it serves
	held  []byte
}

// hold holds back all writes until flush, or for limit, for the channel by. It does not
// prolong a hold that has begun.
func (g *gatherer) hold(by ssh.Channel) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer == nil {
		g.timer, g.by = time.AfterFunc(g.limit, g.flush), by
	}
}

// flush ends a hold. If its write fails, the next write returns the error.
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

// release ends a hold, unless it is for the channel by.
func (g *gatherer) release(by ssh.Channel) {
	g.mu.Lock()
	others := g.timer != nil && g.by != by
	g.mu.Unlock()
	if others {
		g.flush()
	}
}

// prompt writes to a channel data that a person may be waiting for. It ends every hold,
// except one for the same channel.
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

// writeLocked writes the data that is held back and p, in one piece.
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
