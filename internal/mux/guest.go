//go:build linux

package mux

import (
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/memory"
	"keyway/internal/sshwire"
)

const (
	// ahead is the number of session channels that are opened ahead.
	ahead = 16
	// refillAfter is the time without a start or an end after which channels are opened again: the
	// answers would delay those to others.
	refillAfter = 150 * time.Millisecond
	// restAfter is the time without a start or an end after which memory is given back. That takes
	// a few milliseconds, and memory that is needed again comes back piece by piece.
	restAfter = 10 * time.Second
	// loginTime bounds the login, which does not involve the user.
	loginTime = 30 * time.Second
)

var (
	errRefused = errors.New("the guest refuses it")
	errGone    = errors.New("the connection to the workspace has ended")
	errSilent  = errors.New("the workspace does not answer")
)

// Target is a workspace to connect to.
type Target struct {
	Conn    net.Conn // to its guest
	User    string
	HostKey ssh.PublicKey
	Agent   string   // the agent's socket
	News    *os.File // of the link, about Conn; nil: none
}

// guest is an SSH connection to a workspace.
type guest struct {
	ssh    ssh.Conn
	wire   *observed
	permit *permit
	ended  chan struct{} // closed with the connection
	open   context.Context
	end    context.CancelFunc // ends open, with the connection

	filling sync.Mutex
	mu      sync.Mutex
	ready   []opened // opened ahead
	refill  *time.Timer
	rest    *time.Timer
	running map[*session]struct{}
	idle    time.Time // since when nothing runs
	leaving bool      // no new sessions
	work    sync.WaitGroup

	waiters  map[*waiter]struct{}
	forwards map[forwardRequest]*forward
	agents   int // number of sessions that forward the agent
}

// login connects to a guest as a client with the user's key, if the agent would allow a session
// with it without asking the user.
func login(t Target) (*guest, error) {
	wire := &observed{Conn: t.Conn}
	p := &permit{socket: t.Agent, wire: wire, hostKey: t.HostKey, user: t.User, self: os.Getpid()}
	_ = t.Conn.SetDeadline(time.Now().Add(loginTime))
	c, channels, requests, err := ssh.NewClientConn(wire, "workspace", &ssh.ClientConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519}, // observed understands their replies
			Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305},
			// The same as the guest's: a key change can hang the library (awaitStuck), so it is
			// begun as late as allowed, and new sessions have another connection by then.
			RekeyThreshold: rekeyAfter,
		},
		User:            t.User,
		Auth:            []ssh.AuthMethod{ssh.PublicKeysCallback(p.signers)},
		HostKeyCallback: ssh.FixedHostKey(t.HostKey),
	})
	if err != nil {
		p.close()
		t.Conn.Close()
		if errors.Is(err, errOtherAgent) {
			return nil, errOtherAgent // without the handshake's message
		}
		return nil, err
	}
	_ = t.Conn.SetDeadline(time.Time{})
	g := &guest{ssh: c, wire: wire, permit: p, ended: make(chan struct{}), running: map[*session]struct{}{}, waiters: map[*waiter]struct{}{}, idle: time.Now(), forwards: map[forwardRequest]*forward{}}
	g.open, g.end = context.WithCancel(context.Background())
	g.work.Go(func() { ssh.DiscardRequests(requests) })
	g.work.Go(func() {
		for offered := range channels {
			g.work.Go(func() { g.offered(offered) })
		}
	})
	g.work.Go(func() {
		_ = c.Wait()
		g.end()
		p.close()
		close(g.ended)
	})
	g.fill()
	return g, nil
}

// close ends the connection and waits for its goroutines.
func (g *guest) close() {
	g.mu.Lock()
	g.leaving = true
	if g.refill != nil {
		g.refill.Stop()
		g.rest.Stop()
	}
	forwards := slices.Collect(maps.Values(g.forwards))
	g.mu.Unlock()
	g.ssh.Close()
	for _, f := range forwards {
		f.close(true)
	}
	g.work.Wait()
}

// offered serves a channel that the guest opens: for a forward, or to the agent.
func (g *guest) offered(offered ssh.NewChannel) {
	r := sshwire.NewReader(offered.ExtraData())
	switch offered.ChannelType() {
	case "forwarded-tcpip":
		host, port := r.Text(), r.Uint32()
		g.forwarded(offered, func(f *forward) bool { return f.isAt(host, port) })
	case "forwarded-streamlocal@openssh.com":
		path := r.Text()
		g.forwarded(offered, func(f *forward) bool { return f.asked.listen == target{path, onPath} })
	case "auth-agent@openssh.com":
		g.forwardAgent(offered)
	default:
		_ = offered.Reject(ssh.UnknownChannelType, "there is no such channel here")
	}
}

// forwardAgent connects a program in the workspace to the user's agent, while a session with agent
// forwarding runs (ssh -A). The agent is told that the program is remote.
func (g *guest) forwardAgent(offered ssh.NewChannel) {
	g.mu.Lock()
	on := g.agents > 0
	g.mu.Unlock()
	if !on {
		_ = offered.Reject(ssh.Prohibited, "no session forwards the agent")
		return
	}
	conn, err := g.permit.dialRemote()
	if err != nil {
		_ = offered.Reject(ssh.ConnectionFailed, "the agent cannot be reached")
		return
	}
	defer conn.Close()
	if channel, requests, err := offered.Accept(); err == nil {
		g.relay(conn, channel, requests)
	}
}

// fill opens channels ahead, in one write.
func (g *guest) fill() {
	g.filling.Lock()
	defer g.filling.Unlock()
	g.mu.Lock()
	missing := ahead - len(g.ready)
	if g.leaving {
		missing = 0
	}
	g.mu.Unlock()
	var sent, answered sync.WaitGroup
	g.wire.together(func() {
		for range missing {
			sent.Add(1)
			answered.Go(func() { g.openAhead(sent.Done) })
		}
		// The requests are written before their answers are awaited, and nothing reports when. A
		// moment is enough, and later requests are written separately.
		sent.Wait()
		time.Sleep(time.Millisecond)
	})
	answered.Wait()
}

func (g *guest) openAhead(started func()) {
	started()
	channel, requests, err := g.ssh.OpenChannel("session", nil)
	if err != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ready = append(g.ready, opened{channel, requests})
}

// take returns a channel for a session: one that is open already, if there is one.
// answer waits for one that is not.
func (g *guest) take(answer *waiter) (opened, error) {
	g.mu.Lock()
	if g.leaving {
		g.mu.Unlock()
		return opened{}, errGone
	}
	g.touchLocked()
	if n := len(g.ready); n > 0 {
		o := g.ready[n-1]
		g.ready = g.ready[:n-1]
		g.mu.Unlock()
		return o, nil
	}
	g.mu.Unlock()
	var o opened
	var err error
	switch {
	case !answer.during(g, func() { o.Channel, o.requests, err = g.ssh.OpenChannel("session", nil) }, &o.Channel):
		return opened{}, errSilent
	case err != nil:
		return opened{}, errGone
	}
	return o, nil
}

// touchLocked notes that a session or forward has started or ended.
func (g *guest) touchLocked() {
	switch {
	case g.leaving:
	case g.refill == nil:
		g.refill = time.AfterFunc(refillAfter, g.fill)
		g.rest = time.AfterFunc(restAfter, memory.Release)
	default:
		g.refill.Reset(refillAfter)
		g.rest.Reset(restAfter)
	}
}

func (g *guest) enter(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running[s] = struct{}{}
	if s.ask.agent {
		g.agents++
	}
}

func (g *guest) leave(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.running, s)
	if s.ask.agent {
		g.agents--
	}
	g.idle = time.Now()
	g.touchLocked()
}

// idleSince returns the time since which nothing runs; false if something does.
func (g *guest) idleSince() (time.Time, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.idle, len(g.running)+len(g.forwards) == 0
}

// resize sends the guest the sizes of terminals that have changed.
func (g *guest) resize() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range g.running {
		if !s.ask.tty {
			continue
		}
		if now := s.in.Window(); now != s.size {
			s.size = now
			_, _ = s.channel.SendRequest("window-change", false, ssh.Marshal(now))
		}
	}
}
