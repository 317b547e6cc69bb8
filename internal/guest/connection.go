//go:build linux

package guest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// connection is one authenticated SSH connection. When it ends its goroutines end, and
// serve returns after the last of them.
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

	// noMoreSessions is set when the client promises to open no more sessions, so that an
	// attacker who takes the client over later cannot (OpenSSH's PROTOCOL, section 2.2).
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
	// The client is gone. First no new program is sent to its agent, then goroutines that
	// wait are woken, then all are joined.
	c.server.agent.forget(c)
	c.cancel()
	c.forwards.closeAll()
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.running.Wait()
}

// start runs f as a part of the connection. It reports false, and does not run f, once the
// connection is ending.
func (c *connection) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.running.Go(f)
	}
	return !c.ended
}

// dispatchAll handles new channels and global requests until the connection ends. One
// goroutine handles both because their order matters once: a session that was opened before
// the promise to open no more is still served.
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

// dispatchWaiting handles the channels that the client opened before it sent the request
// that is being handled.
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

// enter counts a new channel. It reports false if there are too many.
func (c *connection) enter() bool {
	if c.channels.Add(1) > maxChannels {
		c.channels.Add(-1)
		return false
	}
	return true
}

// answer answers a global request. An unknown one, such as keepalive@openssh.com, is
// answered with a failure, which is all that a keepalive needs.
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
