//go:build linux

package guest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// connection is one authenticated SSH connection. Its goroutines end when it
// does, and serve returns after them.
type connection struct {
	server   *Server
	ssh      *ssh.ServerConn
	out      *gatherer       // what ssh writes to
	ctx      context.Context // ends with the connection
	cancel   context.CancelFunc
	channels atomic.Int32 // open now
	forwards *remoteForwards

	running sync.WaitGroup // everything started for its channels and listeners
	mu      sync.Mutex     // orders start against the wait for running
	ended   bool           // nothing more is started

	// noMoreSessions is set when the client promises to open no more sessions, so
	// that whoever gets hold of it later cannot (OpenSSH's PROTOCOL, section 2.2).
	noMoreSessions bool
}

func newConnection(ctx context.Context, s *Server, login *ssh.ServerConn, out *gatherer) *connection {
	c := &connection{server: s, ssh: login, out: out}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.forwards = newRemoteForwards(c)
	return c
}

func (c *connection) serve(chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
	c.dispatchAll(chans, reqs)
	// The client is gone. Nobody may be sent to it any more; then what waits for
	// others is woken; then everything is joined.
	c.server.agent.forget(c)
	c.cancel()
	c.forwards.closeAll()
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.running.Wait()
}

// start runs f as a part of the connection, for those who are none: while the
// connection ends it says no.
func (c *connection) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.running.Go(f)
	}
	return !c.ended
}

// dispatchAll handles new channels and global requests until the connection
// ends. One goroutine does both, because their order counts once: a session
// opened before the promise to open no more must not fall under it.
func (c *connection) dispatchAll(chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
	for chans != nil || reqs != nil {
		select {
		case ch, ok := <-chans:
			if !ok {
				chans = nil
				continue
			}
			c.dispatch(ch)
		case req, ok := <-reqs:
			if !ok {
				reqs = nil
				continue
			}
			c.dispatchWaiting(chans)
			c.answer(req)
		}
	}
}

// dispatchWaiting handles the channels that the client opened before a request
// that was received after them.
func (c *connection) dispatchWaiting(chans <-chan ssh.NewChannel) {
	for {
		select {
		case ch, ok := <-chans:
			if !ok {
				return
			}
			c.dispatch(ch)
		default:
			return
		}
	}
}

// dispatch starts what serves a new channel.
func (c *connection) dispatch(ch ssh.NewChannel) {
	serve := c.handler(ch.ChannelType())
	if serve == nil {
		_ = ch.Reject(ssh.UnknownChannelType, "unknown channel type")
		return
	}
	if !c.enter() {
		_ = ch.Reject(ssh.ResourceShortage, "too many channels on one connection")
		return
	}
	c.running.Go(func() {
		serve(ch)
		c.channels.Add(-1)
		c.server.rested()
	})
}

func (c *connection) handler(kind string) func(ssh.NewChannel) {
	switch kind {
	case "session":
		if !c.noMoreSessions {
			return c.serveSession
		}
	case "direct-tcpip":
		return c.serveDirectTCP
	case "direct-streamlocal@openssh.com":
		return c.serveDirectUnix
	}
	return nil
}

// enter counts a channel in, unless there are too many.
func (c *connection) enter() bool {
	if c.channels.Add(1) > maxChannels {
		c.channels.Add(-1)
		return false
	}
	return true
}

// answer answers a global request. An unknown one, keepalive@openssh.com among
// them, is answered with no, which is all that a keepalive wants.
func (c *connection) answer(req *ssh.Request) {
	reply, err := c.global(req)
	_ = req.Reply(err == nil, reply)
}

var errUnknownRequest = errors.New("unknown request")

func (c *connection) global(req *ssh.Request) ([]byte, error) {
	switch req.Type {
	case "no-more-sessions@openssh.com":
		c.noMoreSessions = true
		return nil, nil
	case "tcpip-forward":
		return c.forwards.listenTCP(req.Payload)
	case "cancel-tcpip-forward":
		return nil, c.forwards.cancelTCP(req.Payload)
	case "streamlocal-forward@openssh.com":
		return nil, c.forwards.listenUnix(req.Payload)
	case "cancel-streamlocal-forward@openssh.com":
		return nil, c.forwards.cancelUnix(req.Payload)
	}
	return nil, errUnknownRequest
}
