//go:build linux

package guest

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/unixsock"
)

const (
	// maxAgentClients bounds the programs that are connected to the agent at once.
	maxAgentClients = 128
	// agentTimeout is the time that a connection has to open the agent's channel. After
	// that, the next connection is asked: the laptop of the first may be asleep.
	agentTimeout = 5 * time.Second
	// lengthLen is the number of bytes of a request's length (RFC 9987, section 3).
	lengthLen = 4
)

// agentBroker serves the workspace's agent socket. It relays each program to the newest
// connection that forwards its agent. A program that outlives a connection reaches the
// agent of the next one at the same path.
type agentBroker struct {
	log *logger

	mu     sync.Mutex
	offers []*connection // oldest first
}

func newAgentBroker(log *logger) *agentBroker { return &agentBroker{log: log} }

// offer notes that c's client forwards its agent. A repeated offer makes c the newest: its
// user is active.
func (b *agentBroker) offer(c *connection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offers = append(without(b.offers, c), c)
}

// forget removes c. It is called before c's channels are torn down.
func (b *agentBroker) forget(c *connection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offers = without(b.offers, c)
}

func without(list []*connection, c *connection) []*connection {
	return slices.DeleteFunc(slices.Clone(list), func(x *connection) bool { return x == c })
}

// newestFirst returns the connections whose agents may be asked now.
func (b *agentBroker) newestFirst() []*connection {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.Clone(b.offers)
	slices.Reverse(list)
	return list
}

func (b *agentBroker) serve(ctx context.Context, l net.Listener) {
	var all sync.WaitGroup
	room := make(chan struct{}, maxAgentClients)
	err := unixsock.AcceptEach(l, func(conn net.Conn) {
		select {
		case room <- struct{}{}:
			all.Go(func() {
				defer func() { <-room }()
				b.serveClient(ctx, conn.(*net.UnixConn))
			})
		default:
			conn.Close()
		}
	})
	if ctx.Err() == nil {
		b.log.warn("agent socket", "error", err)
	}
	all.Wait()
}

// serveClient relays one program to an agent. If there is no agent it ends the connection
// at once, so that ssh and git report that instead of waiting.
func (b *agentBroker) serveClient(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	for _, c := range b.newestFirst() {
		if channel, reqs, ok := c.openAgent(); ok {
			c.relay(channel, reqs, wholeRequests{conn, c.server.gather})
			return
		}
	}
	endGently(conn)
}

// wholeRequests reads a program's requests to an agent. OpenSSH writes the length of a
// request and the request separately; here both are read, and sent on, together.
type wholeRequests struct {
	*net.UnixConn
	patience time.Duration // for the bytes after a length
}

// Read implements io.Reader.
func (w wholeRequests) Read(p []byte) (int, error) {
	n, err := w.UnixConn.Read(p)
	if err != nil || n > lengthLen {
		return n, err
	}
	_ = w.SetReadDeadline(time.Now().Add(w.patience))
	more, _ := w.UnixConn.Read(p[n:]) // the next read returns the error
	return n + more, w.SetReadDeadline(time.Time{})
}

// endGently shuts conn down so that its peer reads the end of file. If it were closed as a
// whole, a program about to write its request would be killed by SIGPIPE and print nothing.
func endGently(conn *net.UnixConn) {
	_ = conn.CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(agentTimeout))
	_ = buffers.Copy(io.Discard, conn)
}

// agentChannel is a client's answer to the opening of its agent's channel.
type agentChannel struct {
	channel ssh.Channel
	reqs    <-chan *ssh.Request
	err     error
}

// openAgent opens a channel to the client's agent. If the answer comes after the timeout,
// the channel is closed again.
func (c *connection) openAgent() (ssh.Channel, <-chan *ssh.Request, bool) {
	answer := make(chan agentChannel)
	givenUp := make(chan struct{})
	defer close(givenUp)
	started := c.start(func() {
		var a agentChannel
		a.channel, a.reqs, a.err = c.ssh.OpenChannel("auth-agent@openssh.com", nil)
		select {
		case answer <- a:
		case <-givenUp:
			if a.err == nil {
				a.channel.Close()
				ssh.DiscardRequests(a.reqs)
			}
		}
	})
	if !started {
		return nil, nil, false
	}
	select {
	case a := <-answer:
		return a.channel, a.reqs, a.err == nil
	case <-time.After(agentTimeout):
		return nil, nil, false
	}
}
