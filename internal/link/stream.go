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
	// streamProtocol is what a command upgrades its connection to the link to: from
	// the answer on, the connection is the byte stream to the guest, and may be
	// handed to an ssh.
	streamProtocol = "keyway-stream"
	// headerHostKey is the host key of the guest, as in known_hosts: who has to sign
	// for a stream. Without one there is no stream, only a pipe.
	headerHostKey = "Keyway-Host-Key"
	// headerTerminal says that the descriptor of the ssh's terminal follows the
	// answer, for news.
	headerTerminal = "Keyway-Terminal"
)

// switching is the answer to an upgrade. It is written by hand, because nothing
// may be read ahead of what follows it.
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
	hostKey ed25519.PublicKey // of the guest; nil: no stream
	said    []byte            // what the ssh said before the guest had answered, to be said again to a plain one
	keeping bool              // the guest may still turn out to be a plain one
	forgot  bool              // that was too much to be kept
	spoke   func([]byte)      // hears what the ssh said first
	spare   *stream.Conn      // a stream that was begun for whoever comes; nil: none

	guest    atomic.Pointer[stream.Conn] // nil: a plain pipe
	plain    atomic.Bool
	help     atomic.Pointer[string] // what a person can do about a stream that waits
	up, down atomic.Int64           // bytes of a plain pipe

	moving moving
}

// moving is a connection between two processes; see handover.go.
type moving struct {
	leave  chan struct{} // closed when the connection is to move to another process
	saved  chan bool     // receives whether it can: then state and unsent are set
	sent   chan struct{} // closed when it has moved
	state  []byte        // of the stream; nil: none yet
	unsent []byte        // what the ssh has said that is not in the state, to be sent first
}

func newProxied(uplink *uplink, name keyway.Name, hostKey ed25519.PublicKey, since time.Time) *proxied {
	return &proxied{
		uplink: uplink, name: name, hostKey: hostKey, since: since,
		moving: moving{leave: make(chan struct{}), saved: make(chan bool, 1), sent: make(chan struct{})},
	}
}

// stream joins the command's connection to a guest. It is taken over before the
// guest has answered: what goes wrong then is said by sendDisconnect.
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
	// In a goroutine of its own, because that of the request holds two buffers. The
	// request's context does not count: it may have ended already, with an ssh that
	// has sent all it has to say.
	l.ended.Go(func() {
		defer conn.Close()
		if err := c.begin(conn, r); err == nil {
			l.proxy(l.ctx, c)
		}
	})
}

// begin answers the command, and takes what r announces: its terminal, and the ends
// of its ssh, in whose place the connection stands otherwise.
func (c *proxied) begin(conn net.Conn, r *http.Request) (err error) {
	c.ssh = conn
	_, err = io.WriteString(conn, switching(r.Header.Get("Upgrade")))
	if err == nil && r.Header.Get(headerTerminal) != "" {
		c.screen, err = receiveTerminal(conn)
	}
	if err == nil && wantsEnds(r) {
		c.ssh, err = receiveEnds(conn)
		conn.Close()
	}
	if err != nil && c.screen != nil {
		c.screen.close()
	}
	return err
}

// requested is the connection that r asks for.
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

// proxy copies between the ssh and the guest until one of them ends, or another
// process goes on with it.
func (l *Link) proxy(ctx context.Context, c *proxied) {
	if c.screen != nil {
		defer c.screen.close()
	}
	if !l.enter(c) {
		sendDisconnect(c.ssh, keyway.Errorf(keyway.Interrupted, "keyway was upgraded at this moment").Hint("try again"))
		return
	}
	defer l.gone(c)
	unguard := l.guard.add(c.screen, c.uplink.place.Of(c.name))
	defer unguard()
	err := errPlain
	if c.hostKey != nil {
		c.spoke = func(first []byte) { l.began(c, first) }
		c.spare = l.spareFor(c)
		err = c.overStream(ctx, l.streamConfig(c))
	}
	if errors.Is(err, errPlain) && !c.forgot {
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
	case err != nil:
		err = c.inWords(err)
		l.cfg.Log.Info("connection ended", "workspace", c.name, "place", c.uplink.place, "error", err)
		c.sayWhy(ctx, l.spelledOut(keyway.AsError(err)))
	}
	c.ssh.Close()
}

// sayWhy tells the user why the connection has ended.
func (c *proxied) sayWhy(ctx context.Context, e *keyway.Error) {
	if c.status().Down == 0 {
		sendDisconnect(c.ssh, e)
		return
	}
	if ctx.Err() != nil {
		e = keyway.Errorf(keyway.Interrupted, "the link was stopped, and the connection to %s with it", c.name)
	}
	// In the middle of a connection ssh would take no word of ours.
	text := plain.Line(e.Message)
	if e.Host != "" {
		text = plain.Sprintf("%s says: %s", e.Host, e.Message)
	} else if e.Next != "" {
		text += "\n" + plain.Text(e.Next)
	}
	say(c.screen, text)
}

// spelledOut is e with what to do next in the words of those who started the link.
func (l *Link) spelledOut(e *keyway.Error) *keyway.Error {
	if l.cfg.Next == nil {
		return e
	}
	words := *e
	words.Next = l.cfg.Next(e)
	return &words
}

// nextOf is what to do next in those words; empty without an error, and without advice.
func (l *Link) nextOf(e *keyway.Error) string {
	if e == nil {
		return ""
	}
	return l.spelledOut(e).Next
}

// enter counts c in, unless the link is being replaced.
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

// streamConfig is how c's stream finds its guest, now and whenever it has lost
// the uplink.
func (l *Link) streamConfig(c *proxied) stream.Config {
	d := &dialer{uplink: c.uplink, name: c.name, begun: c.since, opened: c.opened, hostKey: c.hostKey, help: func(e *keyway.Error) { c.helps(l.nextOf(e)) }}
	cfg := l.streamOver(d.Dial, c.hostKey)
	cfg.Stranger = d.Stranger
	return cfg
}

// streamOver configures a stream to the guest of that host key.
func (l *Link) streamOver(dial func(context.Context) (net.Conn, error), hostKey ed25519.PublicKey) stream.Config {
	return stream.Config{
		Dial: dial, HostKey: hostKey, Budget: l.budget, Watcher: l.watcher,
		Linger: closeTimeout, Logger: l.cfg.Log,
	}
}

func (c *proxied) opened() bool { return isOpened(c.guest.Load()) }

// isOpened reports whether a stream has begun, and its guest has answered once.
func isOpened(guest *stream.Conn) bool { return guest != nil && guest.Status().Opened }

func (c *proxied) helps(what string) { c.help.Store(&what) }

// advice is what a person can do now.
func (c *proxied) advice() string {
	if what := c.help.Load(); what != nil {
		return *what
	}
	return ""
}

// closeTimeout is how long a guest that cannot be reached is tried to be told that
// its ssh has ended.
const closeTimeout = 10 * time.Minute

// overStream carries the connection over a resumable stream. The error is why
// there is no more of it: nil when guest or ssh has ended it.
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
	_, err = guest.WriteTo(c.ssh)
	c.ssh.SetReadDeadline(longAgo) // ends upload, without closing: the ssh may be told why
	if !isClosed(c.moving.leave) {
		reason := guest.Err()
		switch {
		case reason == nil && err != nil: // the ssh takes no more
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

// dial begins the stream, or continues a spare or one of another process.
func (c *proxied) dial(ctx context.Context, cfg stream.Config) (guest *stream.Conn, err error) {
	switch {
	case c.moving.state != nil:
		guest, err = stream.Restore(ctx, cfg, c.moving.state)
		c.moving.state = nil
	case c.spare != nil:
		guest = c.spare
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

// maxSaid bounds in bytes what is kept to be said again: an ssh says less than
// 4 KiB before its server has spoken.
const maxSaid = 64 << 10

// upload copies from the ssh to the guest. When the ssh has ended, so must the
// guest soon.
func (c *proxied) upload(guest *stream.Conn, ended func()) {
	if !c.copyUp(guest) {
		return // the guest takes no more, or we leave
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

// copyUp copies until the ssh or the stream has ended, and reports whether the ssh has.
// Bytes that were read and not written are kept in unsent.
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

// heard is told of each piece that the ssh has said.
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

// keep keeps what the ssh has said, until the guest has answered as one of
// streams, and reports whether it has not yet.
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

// uploadBuffers are of what one read takes at most, in bytes: four SSH packets.
var uploadBuffers = pipe.Buffers{Size: 128 << 10}

// overPipe carries the connection to a guest that knows no streams; it ends with
// the uplink.
func (c *proxied) overPipe(ctx context.Context) error {
	c.plain.Store(true)
	if isClosed(c.moving.leave) {
		c.moving.unsent = c.said // nobody has answered yet: the other process begins anew
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
	if _, err := guest.Write(c.said); err != nil {
		guest.Close()
		return err
	}
	c.up.Store(int64(len(c.said)))
	watched := &firstError{Conn: guest, count: &c.down}
	api.Relay(watched, pipeEnd{c.ssh, &c.up}, c.ssh)
	return watched.err
}

// pipeEnd reads from the ssh, and counts.
type pipeEnd struct {
	net.Conn
	count *atomic.Int64
}

func (p pipeEnd) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.count.Add(int64(n))
	return n, err
}

// Close ends a Read that waits, without closing: the ssh is still to be told
// why.
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
