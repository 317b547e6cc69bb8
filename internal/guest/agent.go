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
	// maxAgentClients bounds how many programs talk to the agent at once.
	maxAgentClients = 128
	// agentTimeout is how long a connection may take to open the agent's
	// channel before the next one is asked: its laptop may be asleep.
	agentTimeout = 5 * time.Second
	// lengthLen is the number of bytes of a request's length (RFC 9987, section 3).
	lengthLen = 4
)

// agentBroker serves the one agent socket of the workspace. It hands each
// program that connects there to the newest connection that offered its agent.
// Programs that outlive a connection thereby reach the next one's agent by the
// path they know.
type agentBroker struct {
	log *logger

	mu     sync.Mutex
	offers []*connection // oldest first
}

func newAgentBroker(log *logger) *agentBroker { return &agentBroker{log: log} }

// offer notes that c's client forwards its agent. Offering again makes it the
// newest: somebody is working there now.
func (b *agentBroker) offer(c *connection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offers = append(without(b.offers, c), c)
}

// forget takes c out; it is called before c's channels are torn down.
func (b *agentBroker) forget(c *connection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offers = without(b.offers, c)
}

func without(list []*connection, c *connection) []*connection {
	return slices.DeleteFunc(slices.Clone(list), func(x *connection) bool { return x == c })
}

// newestFirst are the agents that may be asked now.
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

// serveClient relays one program to an agent, or ends its connection at once
// when there is none: ssh and git then go on to say so, instead of waiting.
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

// wholeRequests reads what a program asks an agent. Programs of OpenSSH write a
// request's length apart from the request; the two leave together.
type wholeRequests struct {
	*net.UnixConn
	patience time.Duration // with what follows a length
}

// Read implements io.Reader.
func (w wholeRequests) Read(p []byte) (int, error) {
	n, err := w.UnixConn.Read(p)
	if err != nil || n > lengthLen {
		return n, err
	}
	_ = w.SetReadDeadline(time.Now().Add(w.patience))
	more, _ := w.UnixConn.Read(p[n:]) // an error is told by the next read
	return n + more, w.SetReadDeadline(time.Time{})
}

// endGently ends conn so that its peer reads the end. Closed as a whole it would
// be a broken pipe to a program that is about to ask, and kill it wordlessly.
func endGently(conn *net.UnixConn) {
	_ = conn.CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(agentTimeout))
	_ = buffers.Copy(io.Discard, conn)
}

// agentChannel is what a client answered to the opening of its agent's channel.
type agentChannel struct {
	channel ssh.Channel
	reqs    <-chan *ssh.Request
	err     error
}

// openAgent opens a channel to the client's agent. When the answer comes after
// patience has run out, the channel is closed again.
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
