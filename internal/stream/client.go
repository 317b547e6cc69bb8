package stream

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	handshakeTime = 10 * time.Second
	giveUpAfter   = 7 * 24 * time.Hour
	lingerTime    = 10 * time.Second
	// A dial that began longer than this before a change of the network may wait for a network that
	// is gone.
	staleDial = 3 * time.Second
)

// Config configures a client.
type Config struct {
	// Dial makes a new path. It is called again when a path is lost, and beside a path that may be
	// dead. It must obey its context, which is valid only until Dial returns. An error marked by
	// Permanent ends the stream.
	Dial func(ctx context.Context) (net.Conn, error)
	// Stranger is called when a server neither knows the opened stream nor holds HostKey. An error
	// marked by Permanent ends the stream. It may be nil.
	Stranger func(ctx context.Context) error
	// HostKey is the key that must sign the server's answer. Nil refuses every server.
	HostKey ed25519.PublicKey
	// Budget is shared with other streams; nil makes one of DefaultBudget.
	Budget *Budget
	// Watcher reports wake-ups and changes of the network; may be nil.
	Watcher *Watcher
	// GiveUp is the time after which a client without a path gives up; 0 means 7 days.
	GiveUp time.Duration
	// Linger is the time that Close waits for its last bytes; 0 means 10 s.
	Linger time.Duration
	// Logger may be nil.
	Logger Logger
}

func (c *Config) fill() error {
	switch {
	case c.Dial == nil:
		return errors.New("stream: no Dial")
	case len(c.HostKey) != ed25519.PublicKeySize:
		return errors.New("stream: no host key to expect")
	}
	if c.Budget == nil {
		c.Budget = NewBudget(DefaultBudget)
	}
	if c.GiveUp == 0 {
		c.GiveUp = giveUpAfter
	}
	if c.Linger == 0 {
		c.Linger = lingerTime
	}
	if c.Logger == nil {
		c.Logger = noLogger{}
	}
	return nil
}

// client is the side that dials.
type client struct {
	c      *Conn
	cfg    Config
	ctx    context.Context
	cancel context.CancelCauseFunc
	unhook func() bool
	all    sync.WaitGroup // the goroutines that seek a path
	nudged chan struct{}  // has a value when the wait for the next dial is over

	// Under the Conn's lock.
	dialling bool // a goroutine seeks a path
	doubted  bool // the path may be dead
	down     time.Time
	pauses   backoff
	stop     context.CancelFunc // of the attempt under way
	began    time.Time          // start of that attempt
}

// Dial begins a stream and returns at once: writing needs no path yet. When ctx ends, the stream
// ends.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	cl, err := newClient(ctx, cfg)
	if err != nil {
		return nil, err
	}
	cl.start(ctx)
	return cl.c, nil
}

func newClient(ctx context.Context, cfg Config) (*client, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	c := newConn(cfg.Logger, cfg.Budget, true)
	cl := &client{c: c, cfg: cfg, nudged: make(chan struct{}, 1), down: time.Now(), dialling: true}
	cl.ctx, cl.cancel = context.WithCancelCause(ctx)
	c.side = cl
	return cl, nil
}

func (cl *client) start(ctx context.Context) {
	cl.cfg.Watcher.add(cl.c)
	cl.unhook = context.AfterFunc(ctx, func() { cl.c.abort(context.Cause(ctx), resetByEnd) })
	cl.all.Go(cl.seek)
}

// suspect starts a second path beside one that may be dead.
func (cl *client) suspect() {
	cl.doubted = true
	if !cl.dialling && cl.c.wire.err == nil {
		cl.dialling = true
		if cl.c.wire.live.proven {
			cl.pauses.reset()
		}
		cl.all.Go(cl.seek)
	}
}

// trusted stops the search for a second path: the first one works.
func (cl *client) trusted() {
	if cl.doubted && cl.stop != nil {
		cl.stop()
	}
	cl.doubted = false
}

func (cl *client) lost(p *path, now time.Time) {
	cl.doubted = false
	if live := cl.c.wire.live; live.proven || live.ready && now.Sub(p.born) >= provenAfter {
		cl.down = now
		cl.pauses.reset()
	}
	if cl.dialling {
		signal(cl.nudged) // the stream has no other path now
	}
}

func (cl *client) ended(error) {
	cl.cfg.Watcher.remove(cl.c)
	cl.cancel(net.ErrClosed)
	cl.c.SetDeadline(time.Time{})
}

// closed waits until the stream and its goroutines have ended, or until Linger has passed.
func (cl *client) closed() error {
	linger := time.NewTimer(cl.cfg.Linger)
	defer linger.Stop()
	select {
	case <-cl.c.done:
	case <-linger.C:
		cl.c.abort(errors.New("its last bytes could not be delivered in time"), resetByEnd)
	}
	cl.unhook()
	cl.all.Wait()
	return nil
}

func (cl *client) addr() (local, remote string) { return "client", "server" }

// Nudge reports that the route to the server may have changed: after a wake-up, or when the
// machine's addresses have changed. The path is sent a PING, and a second one is dialled at
// once. At the server's end, Nudge does nothing.
func (c *Conn) Nudge() {
	if cl, ok := c.side.(*client); ok {
		cl.nudge()
	}
}

func (cl *client) nudge() {
	now := time.Now()
	cl.c.step(now, func() (do effects) {
		if cl.c.wire.err != nil {
			return 0
		}
		if cl.c.wire.live.ready {
			do = cl.c.wire.probe(now)
			cl.suspect()
		}
		cl.pauses.reset()
		signal(cl.nudged)
		if cl.stop != nil && now.Sub(cl.began) > staleDial {
			cl.stop()
		}
		return do
	})
}

// seek finds a path and carries the stream over it until the path is lost. Then it begins again,
// unless another goroutine has begun.
func (cl *client) seek() {
	for {
		p := cl.find()
		if p == nil {
			return
		}
		err := p.run()
		if IsPermanent(err) {
			cl.end(err)
		}
		if !cl.claim() {
			return
		}
	}
}

// claim reports whether the caller is to seek a path: one is wanted, and no other goroutine seeks
// one.
func (cl *client) claim() bool {
	cl.c.mu.Lock()
	defer cl.c.mu.Unlock()
	if cl.dialling || !cl.wanted() {
		return false
	}
	cl.dialling = true
	return true
}

// wanted reports whether a path is needed.
func (cl *client) wanted() bool { return cl.c.wire.err == nil && (cl.c.path == nil || cl.doubted) }

// find dials until a path is attached. It returns nil when no path is wanted any more.
func (cl *client) find() *path {
	for {
		if !cl.pause() {
			return nil
		}
		ctx, ok := cl.begin()
		if !ok {
			return nil
		}
		p, err := cl.attempt(ctx)
		cl.stopAttempt()
		if p != nil {
			return p
		}
		cl.failed(err)
	}
}

// pause waits until the next dial is due, or the wait is cut short. It returns true, so that it can
// stand in the condition of a loop.
func (cl *client) pause() bool {
	cl.c.mu.Lock()
	left := cl.pauses.next(time.Since(cl.down))
	if cl.c.path == nil {
		left = min(left, cl.cfg.GiveUp-time.Since(cl.down))
	}
	cl.c.mu.Unlock()
	if left <= 0 {
		return true
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-cl.nudged:
	case <-cl.ctx.Done():
	}
	return true
}

// begin makes the context of one attempt. ok is false if no path is wanted.
func (cl *client) begin() (ctx context.Context, ok bool) {
	c, now := cl.c, time.Now()
	c.step(now, func() (do effects) {
		if c.path == nil && now.Sub(cl.down) >= cl.cfg.GiveUp {
			do = c.wire.end(fmt.Errorf("%w after %v: %s", ErrGaveUp, cl.cfg.GiveUp, c.life.why))
		}
		if ok = cl.wanted(); !ok {
			cl.dialling = false
			return do
		}
		ctx, cl.stop = context.WithCancel(cl.ctx)
		cl.began = now
		return do
	})
	return ctx, ok
}

func (cl *client) stopAttempt() {
	cl.c.mu.Lock()
	defer cl.c.mu.Unlock()
	cl.stop()
	cl.stop = nil
}

// failed records why an attempt failed.
func (cl *client) failed(err error) {
	if IsPermanent(err) {
		cl.end(err)
		return
	}
	if errors.Is(err, context.Canceled) {
		return // this end canceled it: the path came back, or the network changed
	}
	c, now := cl.c, time.Now()
	c.step(now, func() effects {
		c.log.Debug("no path", "stream", c.idString(), "reason", err)
		if c.wire.err != nil || c.life.state == Up {
			return 0
		}
		return c.life.set(c.life.state, now, err.Error())
	})
}

// end ends the stream for the reason that the server or Dial gave.
func (cl *client) end(err error) {
	c := cl.c
	c.step(time.Now(), func() effects {
		do := c.wire.refused(err)
		if do.has(ended) && !errors.Is(c.wire.err, errFinished) {
			c.log.Warn("stream ended", "stream", c.idString(), "reason", err)
		}
		return do
	})
}
