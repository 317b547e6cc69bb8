package link

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/pipe"
	"keyway/internal/plain"
	"keyway/internal/stream"
)

const (
	// streamProtocol is the protocol that a command upgrades its connection to the link to. From
	// the answer on, the connection is the byte stream to the guest, and may be passed to an ssh.
	streamProtocol = "keyway-stream"
	// headerHostKey is the host key of the guest, as in known_hosts, which must sign for a stream.
	// Without it there is no stream, only a pipe.
	headerHostKey = "Keyway-Host-Key"
	// headerTerminal announces that the descriptor of the ssh's standard error follows the answer,
	// for news. Its value is the form of the news: inItsPlace on a terminal, or inLines on a pipe to
	// a program.
	headerTerminal = "Keyway-Terminal"
	inItsPlace     = "follows"
	inLines        = "lines"
)

// switching returns the answer to an upgrade. It is written without net/http, because nothing
// after it may be read ahead.
func switching(protocol string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"
}

// proxied is one ssh connection that the link proxies.
type proxied struct {
	uplink  *uplink
	name    keyway.Name
	since   time.Time
	ssh     net.Conn          // to the user's ssh
	screen  screen            // its terminal; may be nil
	paper   paper             // its standard error without a terminal, until the guest has answered; may be nil
	hostKey ed25519.PublicKey // the guest's; nil: no stream
	said    []byte            // bytes of the ssh before the guest has answered, to repeat to a plain guest
	keeping bool              // the guest may still turn out to be plain
	forgot  bool              // there were too many to keep
	spoke   func([]byte)      // called with the first bytes of the ssh
	spare   *spare            // a stream that has begun already; nil: none
	dialer  *dialer           // of the paths to the guest

	guest    atomic.Pointer[stream.Conn] // nil: a plain pipe
	plain    atomic.Bool
	help     atomic.Pointer[string] // advice about a stream that waits
	up, down atomic.Int64           // bytes of a plain pipe

	moving moving
}

// moving is the state of a connection between two processes; see handover.go.
type moving struct {
	leave  chan struct{} // closed when the connection must move to another process
	saved  chan bool     // receives whether it can; state and unsent are then set
	sent   chan struct{} // closed when it has moved
	state  []byte        // of the stream; nil: none yet
	unsent []byte        // bytes of the ssh that are not in the state, to be sent first
}

func newProxied(uplink *uplink, name keyway.Name, hostKey ed25519.PublicKey, since time.Time) *proxied {
	return &proxied{
		uplink: uplink, name: name, hostKey: hostKey, since: since,
		moving: moving{leave: make(chan struct{}), saved: make(chan bool, 1), sent: make(chan struct{})},
	}
}

// stream connects the command's connection to a guest. It takes the connection over before the
// guest has answered; sendDisconnect reports later errors.
func (l *Link) stream(w http.ResponseWriter, r *http.Request) {
	c, err := l.requested(r)
	if err == nil {
		_, err = c.uplink.node(r.Context(), nil, nil)
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	// In a goroutine of its own, because the request's holds two buffers. The request's context
	// does not count: it may have ended already, with an ssh that has sent all its input.
	l.ended.Go(func() {
		defer conn.Close()
		if err := c.begin(conn, r); err == nil {
			l.proxy(l.ctx, c)
		}
	})
}

// begin answers the command, and receives what r announces: its terminal, and the two pipes of its
// ssh. Without pipes, the connection itself is used.
func (c *proxied) begin(conn net.Conn, r *http.Request) (err error) {
	c.ssh = conn
	_, err = io.WriteString(conn, switching(r.Header.Get("Upgrade")))
	if err == nil && r.Header.Get(headerTerminal) != "" {
		c.screen, c.paper, err = receiveNews(conn, r.Header.Get(headerTerminal) == inLines)
	}
	if err == nil && wantsEnds(r) {
		c.ssh, err = receiveEnds(conn)
		conn.Close()
	}
	if err != nil {
		c.closeNews()
	}
	return err
}

func (c *proxied) closeNews() {
	if c.screen != nil {
		c.screen.close()
	}
	c.closePaper()
}

// closePaper closes an ssh's standard error. Another process may wait for the end of what is written
// there, so it must not stay open longer than the ssh.
func (c *proxied) closePaper() {
	if c.paper != nil {
		c.paper.close()
		c.paper = nil
	}
}

// answerCheck is the interval at which to look whether the guest has answered the ssh of a spare. A
// stream tells of changes of its state only.
const answerCheck = 100 * time.Millisecond

// keepPaper closes the ssh's standard error when the guest has answered or the ssh has ended, which
// ends ctx. It stays open if the stream fails before.
func (c *proxied) keepPaper(ctx context.Context, guest *stream.Conn) {
	for !c.opened() {
		select {
		case <-guest.Changed():
		case <-time.After(answerCheck):
		case <-guest.Done():
			return
		case <-ctx.Done():
			if isClosed(guest.Done()) {
				return
			}
			c.closePaper()
			return
		}
	}
	c.closePaper()
}

// requested returns the connection that r requests.
func (l *Link) requested(r *http.Request) (*proxied, error) {
	uplink, err := l.uplink(r.PathValue("place"))
	if err != nil {
		return nil, err
	}
	name, err := keyway.ParseName(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	if r.Header.Get("Upgrade") != streamProtocol && !wantsEnds(r) {
		return nil, keyway.Errorf(keyway.VersionMismatch, "a stream begins with Upgrade: %s", streamProtocol)
	}
	return newProxied(uplink, name, parseHostKey(r.Header.Get(headerHostKey)), time.Now()), nil
}

// proxy copies between the ssh and the guest until one of them ends or another process takes the
// connection over.
func (l *Link) proxy(ctx context.Context, c *proxied) {
	defer c.closeNews()
	if !l.enter(c) {
		sendDisconnect(c.ssh, keyway.Errorf(keyway.Interrupted, "keyway was upgraded at this moment").Hint("try again"))
		return
	}
	defer l.gone(c)
	defer l.guard.add(c.screen, c.uplink.place.Of(c.name))()
	err := errPlain
	if c.hostKey != nil {
		c.spoke = func(first []byte) { l.began(c, first) }
		c.dialer = &dialer{uplink: c.uplink, name: c.name, begun: c.since, opened: c.opened, hostKey: c.hostKey, help: func(e *keyway.Error) { c.helps(l.nextOf(e)) }}
		c.spare = l.spareFor(c)
		err = c.overStream(ctx, l.streamConfig(c))
	}
	if errors.Is(err, errPlain) && !c.forgot && c.spare == nil {
		err = c.overPipe(ctx)
	}
	moved := errors.Is(err, stream.ErrMoved)
	if reason := c.uplink.endsBy(c.name); reason != nil && !moved {
		err = reason
	}
	c.moving.saved <- moved
	switch {
	case moved:
		<-c.moving.sent
	case err == nil:
		if c.screen != nil {
			c.screen.ended("", true)
		}
	default:
		err = c.inWords(err)
		l.cfg.Log.Info("connection ended", "workspace", c.name, "place", c.uplink.place, "error", err)
		c.sayWhy(ctx, l.spelledOut(keyway.AsError(err)))
	}
	c.ssh.Close()
}

// sayWhy tells the user why the connection has ended.
func (c *proxied) sayWhy(ctx context.Context, e *keyway.Error) {
	hello, begun := []byte(identification), false
	switch {
	case c.greeted():
		hello = nil
	case c.status().Down != 0: // ssh accepts no message of ours any more
		begun = true
	}
	switch {
	case !begun && c.screen == nil && c.paper == nil:
		endBy(c.ssh, append(hello, disconnectPacket(e)...))
		return
	case begun && ctx.Err() != nil:
		e = keyway.Errorf(keyway.Interrupted, "the link was stopped, and the connection to %s with it", c.name)
	}
	text := plain.Line(e.Message)
	if e.Host != "" {
		text = plain.Sprintf("%s says: %s", e.Host, e.Message)
	} else if e.Next != "" {
		text += "\n" + plain.Text(e.Next)
	}
	switch {
	case c.screen != nil:
		c.screen.ended(text, begun)
	case !begun:
		c.paper.ended(text, begun)
	}
	if !begun {
		endBy(c.ssh, hello)
	}
}

// spelledOut returns e with the next step in the words of the program that started the link.
func (l *Link) spelledOut(e *keyway.Error) *keyway.Error {
	if l.cfg.Next == nil {
		return e
	}
	words := *e
	words.Next = l.cfg.Next(e)
	return &words
}

// nextOf returns the next step in those words; empty without an error or without advice.
func (l *Link) nextOf(e *keyway.Error) string {
	if e == nil {
		return ""
	}
	return l.spelledOut(e).Next
}

// enter registers c, unless the link is being replaced.
func (l *Link) enter(c *proxied) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leaving {
		l.lives[c] = struct{}{}
	}
	return !l.leaving
}

func (l *Link) gone(c *proxied) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lives, c)
}

// streamConfig configures c's stream, which dials its guest now and whenever it has lost the
// uplink.
func (l *Link) streamConfig(c *proxied) stream.Config {
	cfg := l.streamOver(c.dialer.Dial, c.hostKey)
	cfg.Stranger = c.dialer.Stranger
	return cfg
}

// streamOver configures a stream to the guest with that host key.
func (l *Link) streamOver(dial func(context.Context) (net.Conn, error), hostKey ed25519.PublicKey) stream.Config {
	return stream.Config{
		Dial: dial, HostKey: hostKey, Budget: l.budget, Watcher: l.watcher,
		Linger: closeTimeout, Logger: l.cfg.Log,
	}
}

// opened reports whether the guest has answered this ssh once. To the ssh of a spare it has when it
// has taken more than the version, which the link has sent.
func (c *proxied) opened() bool {
	guest := c.guest.Load()
	if guest == nil {
		return false
	}
	st := guest.Status()
	return st.Opened && (c.spare == nil || int64(st.Up)-int64(st.Unacked) > int64(len(c.spare.version)))
}

// greeted reports whether the ssh has received from a spare what a server sends unasked, and
// nothing else: it still takes a packet without encryption, but no second identification line.
func (c *proxied) greeted() bool {
	return c.spare != nil && c.status().Down != 0 && !c.opened()
}

func (c *proxied) helps(what string) { c.help.Store(&what) }

// advice returns the advice for a person now.
func (c *proxied) advice() string {
	if what := c.help.Load(); what != nil {
		return *what
	}
	return ""
}

// closeTimeout bounds the time for which the link tries to tell an unreachable guest that its ssh
// has ended.
const closeTimeout = 10 * time.Minute

// overStream carries the connection over a resumable stream. The error is the reason for its end:
// nil if the guest or the ssh has ended it.
func (c *proxied) overStream(ctx context.Context, cfg stream.Config) error {
	guest, err := c.dial(ctx, cfg)
	if err != nil {
		return err
	}
	listening, stopListening := context.WithCancel(ctx) // ends with the ssh
	var beside sync.WaitGroup
	beside.Go(func() {
		defer stopListening()
		c.upload(guest, stopListening)
	})
	if c.screen != nil {
		beside.Go(func() { c.watchStalls(listening, guest) })
	}
	if c.paper != nil {
		beside.Go(func() { c.keepPaper(listening, guest) })
	}
	_, err = guest.CopyTo(c.ssh)
	c.ssh.SetReadDeadline(longAgo) // ends upload without closing: the ssh may still be told the reason
	if !isClosed(c.moving.leave) {
		reason := guest.Err()
		switch {
		case reason == nil && err != nil: // the ssh accepts no more
		case reason == nil && c.status().Down == 0:
			reason = errSilentGuest
		}
		err = reason
		beside.Wait()
	} else {
		stopListening()
		beside.Wait()
		err = c.save(guest)
	}
	guest.Close()
	if errors.Is(err, errPlain) {
		c.guest.Store(nil)
		c.ssh.SetReadDeadline(time.Time{})
	}
	return err
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// dial begins the stream, or continues a spare or a stream of another process.
func (c *proxied) dial(ctx context.Context, cfg stream.Config) (guest *stream.Conn, err error) {
	switch {
	case c.moving.state != nil:
		guest, err = stream.Restore(ctx, cfg, c.moving.state)
		c.moving.state = nil
	case c.spare != nil:
		guest = c.spare.guest.Load()
	default:
		guest, err = stream.Dial(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	c.guest.Store(guest)
	if isClosed(c.moving.leave) {
		guest.SetDeadline(longAgo)
	}
	return guest, nil
}

var errSilentGuest = keyway.Errorf(keyway.GuestFailed, "the workspace's guest closed the connection at once")

// maxSaid bounds the bytes that are kept to be repeated: an ssh sends less than 4 KiB before its
// server has answered.
const maxSaid = 64 << 10

// upload copies from the ssh to the guest. When the ssh has ended, the guest must end soon, too.
func (c *proxied) upload(guest *stream.Conn, ended func()) {
	if !c.copyUp(guest) {
		return // the guest accepts no more, or the connection moves
	}
	ended()
	guest.CloseWrite()
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	select {
	case <-guest.Done():
	case <-c.moving.leave:
	case <-timeout.C:
		_ = guest.CloseWithError(errors.New("its ssh has ended"))
	}
}

// copyUp copies until the ssh or the stream has ended. It reports whether the ssh has. Bytes that
// were read and not written are kept in unsent.
func (c *proxied) copyUp(guest *stream.Conn) (ended bool) {
	in := pipe.Inlet{Buffers: &uploadBuffers}
	defer in.Shrink()
	c.keeping = !guest.Status().Opened
	rest := c.moving.unsent
	for {
		c.heard(rest, guest)
		n, err := guest.Write(rest)
		if err != nil {
			c.moving.unsent = slices.Clone(rest[n:])
			return false
		}
		if rest, err = in.Read(c.ssh); err != nil {
			c.moving.unsent = nil
			return !errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
}

// heard is called with each piece that the ssh has sent.
func (c *proxied) heard(b []byte, guest *stream.Conn) {
	if len(b) == 0 {
		return
	}
	if c.keeping {
		c.keeping = c.keep(b, guest)
	}
	if c.spoke != nil {
		c.spoke(b)
		c.spoke = nil
	}
}

// keep keeps bytes of the ssh until the guest has answered with a stream. It reports whether it has
// not answered yet.
func (c *proxied) keep(b []byte, guest *stream.Conn) bool {
	if guest.Status().Opened {
		c.said = nil
		return false
	}
	if c.forgot = len(c.said)+len(b) > maxSaid; !c.forgot {
		c.said = append(c.said, b...)
	}
	return !c.forgot
}

// uploadBuffers have the greatest size of one read, in bytes: four SSH packets.
var uploadBuffers = pipe.Buffers{Size: 128 << 10}

// overPipe carries the connection to a guest without streams. It ends with the uplink.
func (c *proxied) overPipe(ctx context.Context) error {
	c.plain.Store(true)
	if isClosed(c.moving.leave) {
		c.moving.unsent = c.said // the guest has not answered yet: the other process starts over
		return stream.ErrMoved
	}
	node, err := c.uplink.node(ctx, nil, nil)
	if err != nil {
		return err
	}
	guest, err := node.Dial(ctx, c.name)
	if err != nil {
		return err
	}
	c.closePaper()
	if _, err := guest.Write(c.said); err != nil {
		guest.Close()
		return err
	}
	c.up.Store(int64(len(c.said)))
	watched := &firstError{Conn: guest, count: &c.down}
	api.Relay(watched, pipeEnd{c.ssh, &c.up}, c.ssh)
	return watched.err
}

// pipeEnd counts the bytes read from the ssh.
type pipeEnd struct {
	net.Conn
	count *atomic.Int64
}

func (p pipeEnd) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.count.Add(int64(n))
	return n, err
}

// Close interrupts a waiting Read without closing: the ssh must still be told the reason.
func (p pipeEnd) Close() error { return p.SetReadDeadline(longAgo) }

// firstError keeps the error of a guest that ended before its first byte.
type firstError struct {
	net.Conn
	count *atomic.Int64
	err   error
}

func (f *firstError) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if f.count.Add(int64(n)) == 0 && err != nil {
		f.err = err
		if errors.Is(err, io.EOF) {
			f.err = errSilentGuest
		}
	}
	return n, err
}

func (f *firstError) CloseWrite() error { return pipe.CloseWrite(f.Conn) }
