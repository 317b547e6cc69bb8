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
	// that, the next connection is asked as well: the laptop of the first may be asleep.
	agentTimeout = 5 * time.Second
	// lastAgentTimeout is the time that all of them have. A laptop may be about to reconnect.
	lastAgentTimeout = time.Minute
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
	if a, ok := b.openAgent(); ok {
		a.from.relay(a.channel, a.reqs, wholeRequests{conn, a.from.server.gather})
		return
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
	from    *connection
	channel ssh.Channel
	reqs    <-chan *ssh.Request
	err     error
}

// openAgent opens a channel to the agent of the connection that answers first, if one
// does. The newest connection is asked first, and each other one after agentTimeout.
func (b *agentBroker) openAgent() (agentChannel, bool) {
	answers := make(chan agentChannel)
	givenUp := make(chan struct{})
	defer close(givenUp)
	toAsk, asked := b.newestFirst(), 0
	late := time.After(lastAgentTimeout)
	for {
		var next <-chan time.Time
		switch {
		case len(toAsk) > 0:
			c := toAsk[0]
			toAsk = toAsk[1:]
			if !c.askForAgent(answers, givenUp) {
				continue
			}
			asked++
			next = time.After(agentTimeout)
		case asked == 0:
			return agentChannel{}, false
		}
		select {
		case a := <-answers:
			if a.err == nil {
				return a, true
			}
			asked--
		case <-next:
		case <-late:
			return agentChannel{}, false
		}
	}
}

// askForAgent requests a channel to the client's agent, and reports whether an answer will come.
// A channel that is opened after givenUp is closed again.
func (c *connection) askForAgent(answers chan<- agentChannel, givenUp <-chan struct{}) bool {
	return c.start(func() {
		a := agentChannel{from: c}
		a.channel, a.reqs, a.err = c.ssh.OpenChannel("auth-agent@openssh.com", nil)
		select {
		case answers <- a:
		case <-givenUp:
			if a.err == nil {
				a.channel.Close()
				ssh.DiscardRequests(a.reqs)
			}
		}
	})
}
