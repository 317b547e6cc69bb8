package link

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/sleep"
	"keyway/internal/stream"
)

// A spare is a stream to a guest on which an SSH connection has begun already: the link has sent
// the version line of the last ssh, and the guest has answered with its own and its list of
// algorithms. An ssh that sends the same line continues from there, and saves one round trip (of
// eleven for ssh HOST true). All secrets come later, between the ssh and the guest alone.
//
// A workspace has at most one spare, until spareTime after its last connection began. Anything that
// makes a spare doubtful ends it: it dials no second path, brings up no uplink, and is not handed
// over to another process.
type spare struct {
	dialer              // until an ssh has taken it
	conn    *connection // the uplink that it uses
	hostKey ed25519.PublicKey
	version string // including the end of the line
	born    time.Time

	dialled bool                        // only Dial uses it
	guest   atomic.Pointer[stream.Conn] // nil: not begun
	user    atomic.Pointer[proxied]     // nil: none yet
	taken   chan struct{}               // closed when it has a user
}

const (
	// spareAfter is the time between the start of a connection and that of its spare: the login
	// comes first.
	spareAfter = time.Second
	// spareTime is the time that a spare waits for an ssh. The guest would wait for
	// internal/guest's handshakeTimeout, and a person may need most of the rest.
	spareTime = time.Minute
	// versionTime is the time for an ssh to send its version if there is a spare for it. OpenSSH
	// sends it at once. A client that waits for the server gets no spare.
	versionTime = 50 * time.Millisecond
	// maxVersion bounds the bytes of a version line (RFC 4253, section 4.2).
	maxVersion = 255
)

var errSpareLost = errors.New("the spare stream has lost its path")

// beginSpare begins a spare for the workspace of c, over the present uplink. It returns nil if that
// is down.
func (l *Link) beginSpare(ctx context.Context, c *proxied, version string) *spare {
	s := &spare{conn: c.uplink.current(), hostKey: c.hostKey, version: version, born: time.Now().Round(0), taken: make(chan struct{})}
	s.dialer = dialer{uplink: c.uplink, name: c.name, begun: s.born, opened: s.opened, hostKey: c.hostKey}
	if s.conn == nil {
		return nil
	}
	cfg := l.streamOver(s.Dial, c.hostKey)
	cfg.Stranger = s.Stranger
	cfg.Logger = spareLog{s, cfg.Logger}
	guest, err := stream.Dial(ctx, cfg)
	if err != nil {
		return nil
	}
	s.guest.Store(guest)
	_, _ = guest.Write([]byte(version)) // fails if the stream has ended; it is then dropped
	return s
}

// spareLog suppresses warnings about the end of an unused spare: nothing is lost with it, and
// spares end all the time.
type spareLog struct {
	of *spare
	stream.Logger
}

// Warn implements stream.Logger.
func (l spareLog) Warn(msg string, pairs ...any) {
	if l.of.user.Load() == nil {
		l.Debug(msg, pairs...)
		return
	}
	l.Logger.Warn(msg, pairs...)
}

// Dial makes the only path of an unused spare, and any path of a used one.
func (s *spare) Dial(ctx context.Context) (net.Conn, error) {
	if user := s.user.Load(); user != nil {
		return user.dialer.Dial(ctx)
	}
	if s.dialled {
		return nil, stream.Permanent(errSpareLost)
	}
	s.dialled = true
	conn, err := s.conn.Dial(context.WithoutCancel(ctx), s.name)
	if err != nil {
		return nil, stream.Permanent(err)
	}
	return newPath(s.uplink.trust(s.conn), conn, &s.dialer), nil
}

// Stranger is called when the answering peer does not hold the guest's host key.
func (s *spare) Stranger(ctx context.Context) error {
	if user := s.user.Load(); user != nil {
		return user.dialer.Stranger(ctx)
	}
	return s.dialer.Stranger(ctx)
}

// opened reports whether the spare has begun and its guest has answered.
func (s *spare) opened() bool {
	guest := s.guest.Load()
	return guest != nil && guest.Status().Opened
}

// fits reports whether c, whose ssh has that version, can use the spare.
func (s *spare) fits(c *proxied, version string) bool {
	return s.matches(c, version, time.Now()) && s.ready()
}

// ready reports whether the guest has answered and is not silent.
func (s *spare) ready() bool {
	state := s.guest.Load().Status()
	return state.Opened && state.State == stream.Up
}

// matches is the part of fits that depends on c. The age of a spare is measured by the wall clock,
// which continues while a laptop sleeps.
func (s *spare) matches(c *proxied, version string, now time.Time) bool {
	age := now.Round(0).Sub(s.born)
	return version != "" && version == s.version && s.hostKey.Equal(c.hostKey) &&
		s.conn != nil && s.conn == c.uplink.current() && 0 <= age && age < spareTime
}

// wait waits until the spare is used or useless.
func (s *spare) wait(ctx context.Context) {
	timeout := time.NewTimer(spareTime)
	defer timeout.Stop()
	select {
	case <-s.taken:
	case <-timeout.C:
	case <-s.guest.Load().Done():
	case <-s.uplink.trust(s.conn).Done():
	case <-ctx.Done():
	}
}

// spareFor takes the spare that fits c; nil if there is none. It reads the first bytes of c's ssh,
// and leaves those that the guest still needs in c.moving.unsent.
func (l *Link) spareFor(c *proxied) *spare {
	if !l.spares.has(c) {
		return nil
	}
	var first [1 << 10]byte
	_ = c.ssh.SetReadDeadline(time.Now().Add(versionTime))
	n, _ := c.ssh.Read(first[:]) // an end is read again
	_ = c.ssh.SetReadDeadline(time.Time{})
	if isClosed(c.moving.leave) {
		_ = c.ssh.SetDeadline(longAgo)
	}
	said := bytes.Clone(first[:n])
	version := versionLine(said)
	s := l.spares.take(c, version)
	if s == nil {
		c.moving.unsent = said
		return nil
	}
	c.moving.unsent = said[len(version):]
	l.began(c, said)
	return s
}

// versionLine returns the line at the start of b, including its end, if it is the version of an SSH
// client; otherwise it is empty.
func versionLine(b []byte) string {
	end := bytes.IndexByte(b[:min(len(b), maxVersion)], '\n')
	if end < 0 || !bytes.HasPrefix(b, []byte("SSH-2.0-")) {
		return ""
	}
	return string(b[:end+1])
}

// began is called with the first bytes of c's ssh. It keeps a spare for the next one.
func (l *Link) began(c *proxied, said []byte) {
	if version := versionLine(said); version != "" {
		l.ended.Go(func() { l.keepSpare(l.ctx, c, version) })
	}
}

// keepSpare keeps a spare beside c until it is used or useless.
func (l *Link) keepSpare(ctx context.Context, c *proxied, version string) {
	if !l.spares.reserve(c) {
		return
	}
	var s *spare
	if sleep.For(ctx, spareAfter) == nil && c.opened() {
		s = l.beginSpare(ctx, c, version)
	}
	l.spares.put(c, s)
	if s == nil {
		return
	}
	s.wait(ctx)
	if l.spares.drop(c, s) {
		_ = s.guest.Load().CloseWithError(errSpareLost)
		s.guest.Load().Close()
	}
}

// spares are the spares of a link. The zero value has none.
type spares struct {
	mu  sync.Mutex
	all map[spareKey]*spare // nil: one is about to begin
}

type spareKey struct {
	uplink *uplink
	name   keyway.Name
}

func keyOf(c *proxied) spareKey { return spareKey{c.uplink, c.name} }

// has reports whether there is a spare of c's workspace.
func (s *spares) has(c *proxied) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[keyOf(c)] != nil
}

// ready returns the workspaces of an uplink that have a spare for the next ssh.
func (s *spares) ready(u *uplink) (names []keyway.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, one := range s.all {
		if key.uplink == u && one != nil && one.ready() {
			names = append(names, key.name)
		}
	}
	slices.Sort(names)
	return names
}

// reserve reports whether c's workspace has no spare, and none is about to begin. If so, the caller
// must put one.
func (s *spares) reserve(c *proxied) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.all[keyOf(c)]; there {
		return false
	}
	if s.all == nil {
		s.all = map[spareKey]*spare{}
	}
	s.all[keyOf(c)] = nil
	return true
}

// put puts a spare in its reserved slot; nil releases the slot.
func (s *spares) put(c *proxied, one *spare) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[keyOf(c)] = one
	if one == nil {
		delete(s.all, keyOf(c))
	}
}

// take gives c the spare that fits it; nil if there is none.
func (s *spares) take(c *proxied, version string) *spare {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[keyOf(c)]
	if one == nil || !one.fits(c, version) {
		return nil
	}
	one.user.Store(c)
	close(one.taken)
	delete(s.all, keyOf(c))
	return one
}

// drop removes the spare. It reports whether the spare was unused.
func (s *spares) drop(c *proxied, one *spare) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[keyOf(c)] != one {
		return false
	}
	delete(s.all, keyOf(c))
	return true
}
