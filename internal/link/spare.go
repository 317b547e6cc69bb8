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

// A spare is a stream to a guest on which an SSH connection has begun already: the link
// has sent the version line of the last ssh, and the guest has answered with its own and
// with its offer of algorithms. An ssh that says the same line goes on from there, and
// waits for one round trip less (of eleven for ssh HOST true). All that is worth keeping
// secret comes later, between the ssh and the guest alone.
//
// A workspace has one spare at most, for spareTime after its last connection began. What
// makes a spare doubtful ends it: it dials no second path, brings up no uplink, and moves
// to no other process.
type spare struct {
	dialer
	conn    *connection // the uplink that it goes over
	hostKey ed25519.PublicKey
	version string // with the end of its line
	born    time.Time

	dialled bool                        // used by Dial alone
	guest   atomic.Pointer[stream.Conn] // nil: not begun
	user    atomic.Pointer[proxied]     // nil: nobody yet
	taken   chan struct{}               // closed when it has a user
}

const (
	// spareAfter is how long after a connection began its spare does: the login comes
	// first.
	spareAfter = time.Second
	// spareTime is how long a spare waits for an ssh. The guest would wait for
	// internal/guest's handshakeTimeout, and a person may need most of the rest.
	spareTime = time.Minute
	// versionTime is how long an ssh may take for its first words, when there is a
	// spare for it. OpenSSH says them at once; whoever listens first gets no spare.
	versionTime = 50 * time.Millisecond
	// maxVersion bounds a version line in bytes (RFC 4253, section 4.2).
	maxVersion = 255
)

var errSpareLost = errors.New("the spare stream has lost its path")

// beginSpare begins a spare of the workspace that c is connected to, over the uplink as it
// is; nil if there is none.
func (l *Link) beginSpare(ctx context.Context, c *proxied, version string) *spare {
	s := &spare{conn: c.uplink.current(), hostKey: c.hostKey, version: version, born: time.Now().Round(0), taken: make(chan struct{})}
	s.dialer = dialer{uplink: c.uplink, name: c.name, begun: s.born, opened: s.opened, hostKey: c.hostKey, help: func(e *keyway.Error) {
		if user := s.user.Load(); user != nil {
			user.helps(l.nextOf(e))
		}
	}}
	if s.conn == nil {
		return nil
	}
	cfg := l.streamOver(s.Dial, c.hostKey)
	cfg.Stranger = s.dialer.Stranger
	cfg.Logger = spareLog{s, cfg.Logger}
	guest, err := stream.Dial(ctx, cfg)
	if err != nil {
		return nil
	}
	s.guest.Store(guest)
	_, _ = guest.Write([]byte(version)) // of a stream that has ended already it is dropped with it
	return s
}

// spareLog has nobody warned of the end of a spare that nobody has taken: it takes
// nothing with it, and spares end all day.
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

// Dial makes the one path of a spare that nobody has taken, and any path of another.
func (s *spare) Dial(ctx context.Context) (net.Conn, error) {
	if s.user.Load() != nil {
		return s.dialer.Dial(ctx)
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

func (s *spare) opened() bool { return isOpened(s.guest.Load()) }

// fits reports whether c, whose ssh is of that version, can go on with the spare.
func (s *spare) fits(c *proxied, version string) bool {
	return s.matches(c, version, time.Now()) && s.ready()
}

// ready reports whether the guest has answered, and does not keep silent.
func (s *spare) ready() bool {
	state := s.guest.Load().Status()
	return state.Opened && state.State == stream.Up
}

// matches is fits as far as c decides. A spare's age goes by the wall clock, which a
// laptop's sleep does not stop.
func (s *spare) matches(c *proxied, version string, now time.Time) bool {
	age := now.Round(0).Sub(s.born)
	return version != "" && version == s.version && s.hostKey.Equal(c.hostKey) &&
		s.conn != nil && s.conn == c.uplink.current() && 0 <= age && age < spareTime
}

// wait waits until the spare is of no use to anybody else.
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

// spareFor takes the spare that fits c; nil if there is none. It reads what c's ssh says
// first, and leaves in c.moving.unsent what the guest is still to hear of that.
func (l *Link) spareFor(c *proxied) *stream.Conn {
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
	return s.guest.Load()
}

// versionLine is the line that b begins with, its end included, if that is the version of
// an SSH client; else it is empty.
func versionLine(b []byte) string {
	end := bytes.IndexByte(b[:min(len(b), maxVersion)], '\n')
	if end < 0 || !bytes.HasPrefix(b, []byte("SSH-2.0-")) {
		return ""
	}
	return string(b[:end+1])
}

// began is told what c's ssh has said first. The next ssh will find a spare.
func (l *Link) began(c *proxied, said []byte) {
	if version := versionLine(said); version != "" {
		l.ended.Go(func() { l.keepSpare(l.ctx, c, version) })
	}
}

// keepSpare has a spare beside c until somebody takes it, or it is of no use any more.
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

// spares are those of a link. The zero spares are none.
type spares struct {
	mu  sync.Mutex
	all map[spareKey]*spare // nil: one is to begin soon
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

// ready are the workspaces of an uplink that have a spare for the next ssh.
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

// reserve reports whether no spare of c's workspace is there or to begin. Then the caller
// is the one to put it there.
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

// put puts a spare in its reserved place; nil gives the place back.
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

// drop takes the spare away, and reports whether nobody had taken it.
func (s *spares) drop(c *proxied, one *spare) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[keyOf(c)] != one {
		return false
	}
	delete(s.all, keyOf(c))
	return true
}
