package stream

import (
	"encoding/hex"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

var (
	// errFinished is the reason for a normal end.
	errFinished = errors.New("finished")
	errSilent   = errors.New("no answer for 10 s")
	errReplaced = errors.New("another path took over")
)

// side has the functions that differ between client and server. All except ended, closed and addr
// are called with the Conn's lock held.
type side interface {
	suspect()                    // the path may be dead
	trusted()                    // it is not
	lost(p *path, now time.Time) // the live path, which was p
	ended(err error)             // the stream is over
	closed() error               // the user has called Close
	addr() (local, remote string)
}

// Conn is one end of a stream. As with every net.Conn, Read and Write may run concurrently. Written
// bytes have arrived only when the other end has confirmed them.
type Conn struct {
	log  Logger
	side side
	in   half          // bytes for the user to read
	out  half          // bytes that the user writes
	done chan struct{} // closed when the stream has ended

	mu    sync.Mutex // protects all fields below, and those of side
	wire  wire
	path  *path // the live one
	life  life
	alarm alarm
}

func newConn(log Logger, budget *Budget, client bool) *Conn {
	c := &Conn{
		log:  log,
		in:   newHalf(),
		out:  newHalf(),
		done: make(chan struct{}),
		wire: newWire(budget, client),
		life: newLife(time.Now()),
	}
	c.alarm.ring = c.tick
	return c
}

// step changes the stream by f, under the lock, and carries out the effects. It reports the end to
// the side without the lock: the side's own locks come before this one.
func (c *Conn) step(now time.Time, f func() effects) {
	c.mu.Lock()
	do := f()
	c.carryOut(do, now)
	c.mu.Unlock()
	if do.has(ended) {
		c.side.ended(c.wire.err)
	}
}

// carryOut carries out the effects of a step, except the report of the end. The lock is held.
func (c *Conn) carryOut(do effects, now time.Time) {
	if do.has(pathUp) {
		do |= c.life.set(Up, now, "")
		c.side.trusted()
	}
	if do.has(pathMute) {
		do |= c.life.set(Stalled, c.wire.det.asked, "no answer")
		c.side.suspect()
	}
	switch {
	case do.has(ended):
		do |= c.ended(now)
	case do.has(pathLost):
		c.path.fail(errSilent)
	}
	if do.has(canRead) {
		signal(c.in.ready)
	}
	if do.has(canWrite) {
		signal(c.out.ready)
	}
	if do.has(canSend) {
		c.path.poke()
	}
	if c.wire.err == nil {
		c.alarm.set(sooner(c.wire.deadline(), c.life.until), now)
	}
}

// ended is called once, by carryOut.
func (c *Conn) ended(now time.Time) effects {
	why := ""
	if !errors.Is(c.wire.err, errFinished) {
		why = c.wire.err.Error()
	}
	do := c.life.set(Ended, now, why)
	close(c.done)
	c.alarm.stop()
	switch {
	case c.path == nil:
	case errors.Is(c.wire.err, ErrMoved):
		c.path.fail(ErrMoved) // without a RESET: the stream continues
	default:
		c.path.finish()
	}
	return do
}

// tick is called by the alarm, and handles what is due.
func (c *Conn) tick() {
	now := time.Now()
	c.step(now, func() effects {
		c.alarm.rang()
		if until := c.life.until; !until.IsZero() && !now.Before(until) {
			return c.wire.end(c.life.expired)
		}
		return c.wire.tick(now)
	})
}

// Read reads data of the other user. Bytes that arrived before the stream ended are read before the
// error.
func (c *Conn) Read(p []byte) (int, error) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	for {
		n, err := c.get(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		if err := c.in.wait(c.done); err != nil {
			return 0, err
		}
	}
}

func (c *Conn) get(p []byte) (n int, err error) {
	if isClosed(c.in.by.passed()) {
		return 0, os.ErrDeadlineExceeded
	}
	now := time.Now()
	c.step(now, func() (do effects) {
		n, do, err = c.wire.read(p, now)
		return do
	})
	return n, err
}

// Write writes p to the stream. It waits while the ring is full.
func (c *Conn) Write(p []byte) (int, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	n := 0
	for {
		k, err := c.put(p[n:])
		n += k
		if err != nil || n == len(p) {
			return n, err
		}
		if k > 0 {
			continue
		}
		if err := c.out.wait(c.done); err != nil {
			return n, err
		}
	}
}

func (c *Conn) put(p []byte) (n int, err error) {
	if isClosed(c.out.by.passed()) {
		return 0, os.ErrDeadlineExceeded
	}
	now := time.Now()
	c.step(now, func() (do effects) {
		n, do, err = c.wire.write(p, now)
		return do
	})
	return n, err
}

// CloseWrite ends this direction: the other user reads io.EOF after the last byte. Reading
// continues.
func (c *Conn) CloseWrite() (err error) {
	now := time.Now()
	c.step(now, func() effects {
		if c.wire.err != nil || c.wire.closed {
			err = c.wire.writeErr()
			return 0
		}
		return c.wire.finish(now)
	})
	return err
}

// Close ends both directions. Bytes that were written still arrive: at a server in the background,
// at a client before Close returns, which waits up to 10 s. Close tells the other end if bytes from
// there were not read.
func (c *Conn) Close() error {
	now := time.Now()
	c.step(now, func() effects { return c.wire.close(now) })
	return c.side.closed()
}

// CloseWithError ends both directions at once. The other user's Read and Write fail with a
// ResetError that contains the reason.
func (c *Conn) CloseWithError(reason error) error {
	c.abort(reason, resetByUser)
	return c.Close()
}

func (c *Conn) abort(reason error, code uint16) {
	c.step(time.Now(), func() effects { return c.wire.abort(reason, code) })
}

// abortError is the reason for which the local user ended a stream.
type abortError struct{ reason error }

func (a *abortError) Error() string { return "closed: " + a.reason.Error() }
func (a *abortError) Unwrap() error { return a.reason }

// Err returns the reason for the end of the stream: nil before the end, or after a normal one.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(c.wire.err, errFinished) {
		return nil
	}
	return c.wire.err
}

// Done returns a channel that is closed when the stream has ended, in whatever way.
func (c *Conn) Done() <-chan struct{} { return c.done }

// attach makes p the live path. It returns the old one, which the caller closes. The lock is held.
func (c *Conn) attach(p *path) (old *path) {
	old, c.path = c.path, p
	c.life.until = time.Time{}
	return old
}

// detach is called when p has ended. err is the error of its reader.
func (c *Conn) detach(p *path, err error) error {
	now := time.Now()
	c.step(now, func() (do effects) {
		p.endKiller()
		switch {
		case c.path != p:
			err = errReplaced
			return 0
		case p.failure != nil:
			err = p.failure
		}
		c.path = nil
		if c.wire.err != nil {
			err = nil
			return 0
		}
		do = c.life.set(Redialling, now, err.Error())
		c.side.lost(p, now)
		c.wire.detach()
		return do
	})
	return err
}

// idString names the stream in logs: long enough to find it, too short to use it.
func (c *Conn) idString() string {
	if c.wire.keys == nil {
		return "opening"
	}
	return hex.EncodeToString(c.wire.keys.id[:4])
}

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr {
	local, _ := c.side.addr()
	return addr(local)
}

// RemoteAddr returns the address of the other end, which may change.
func (c *Conn) RemoteAddr() net.Addr {
	_, remote := c.side.addr()
	return addr(remote)
}

type addr string

func (addr) Network() string  { return "stream" }
func (a addr) String() string { return string(a) }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.by.set(t)
	c.out.by.set(t)
	return nil
}

// SetReadDeadline bounds the time that Read waits.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.by.set(t)
	return nil
}

// SetWriteDeadline bounds the time that Write waits for room in the ring.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.by.set(t)
	return nil
}

var _ net.Conn = (*Conn)(nil)
