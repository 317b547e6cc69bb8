package stream

import (
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	ackDelay = 50 * time.Millisecond
	// maxUnsent is how far Write may be ahead of a path that works. Only a path
	// that does not is a reason to fill the ring.
	maxUnsent = 128 << 10
	lastWords = time.Second // for what an ended stream still has to say
)

var (
	// errFinished is how a stream ends well.
	errFinished = errors.New("finished")
	errSilent   = errors.New("no answer for 10 s")
	errReplaced = errors.New("another path took over")
)

// side is what the client and the server do differently. All but ended are
// called with the Conn's lock held.
type side interface {
	suspect()                    // the path may be dead
	trusted()                    // it is not
	lost(p *path, now time.Time) // the live path, which was p
	ended(err error)             // the stream is over
	closed() error               // the user has called Close
	addr() (local, remote string)
}

// Conn is one end of a stream. As with every net.Conn, Read and Write may run
// at once; what is written has arrived only when the other end says so.
type Conn struct {
	log    Logger
	side   side
	client bool

	reading  sync.Mutex // one user reads at a time
	writing  sync.Mutex // one user writes at a time
	readBy   deadline
	writeBy  deadline
	readable chan struct{} // holds a value when reading is worth another try
	writable chan struct{} // the same for writing
	changed  chan struct{}
	done     chan struct{} // closed when the stream has ended

	mu    sync.Mutex // protects all below, and the fields of side
	tx    sendQueue
	rx    recvQueue
	det   detector
	say   control
	path  *path  // the live one
	limit uint64 // what the peer takes
	keys  *keys  // nil until the server has answered
	epoch uint64 // of the live path, or the last one
	// confirmed says that the other end is known to have the keys.
	confirmed bool
	// vouched says that whoever uses it at a server's end has proved who he is.
	vouched  bool
	rtt      time.Duration // the shortest of the live path; 0: not known
	pingSent time.Time     // when the latest PING was

	state   State
	since   time.Time
	why     string
	stalls  int
	resumes int

	closed bool  // by the user
	err    error // why the stream ended
	told   bool  // side knows that it ended

	timer  *time.Timer // the only one; its callback takes the lock and does nothing once ended
	due    time.Time   // when it fires
	ackBy  time.Time
	expiry time.Time // when to end for want of a path
	expire error     // as what
}

// control is what is to be said beside DATA and FIN.
type control struct {
	confirm bool
	ack     bool
	narrow  bool
	ping    bool
	pong    bool
	stop    bool
	reset   bool
	pinged  uint64 // payload of the latest PING
	asked   uint64 // payload of the PING to be answered
	code    uint16 // of the RESET
	text    string
}

func newConn(log Logger, budget *Budget, client bool) *Conn {
	return &Conn{
		client:   client,
		det:      detector{client: client},
		log:      log,
		readable: make(chan struct{}, 1),
		writable: make(chan struct{}, 1),
		changed:  make(chan struct{}, 1),
		done:     make(chan struct{}),
		tx:       newSendQueue(budget),
		rx:       newRecvQueue(budget),
		limit:    smallWindow,
		since:    time.Now(),
	}
}

// unlock releases the lock. If the stream has ended under it, the side is told,
// whose own locks come before this one.
func (c *Conn) unlock() {
	tell := c.err != nil && !c.told
	c.told = c.told || tell
	err := c.err
	c.mu.Unlock()
	if tell {
		c.side.ended(err)
	}
}

// Read reads what the other user has written. Bytes that had arrived before the
// stream ended are read before the error.
func (c *Conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		n, err := c.get(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		if err := wait(c.readable, c.done, &c.readBy); err != nil {
			return 0, err
		}
	}
}

// wait returns when what is worth another try, with an error when the deadline
// has passed.
func wait(what, done <-chan struct{}, by *deadline) error {
	select {
	case <-what:
	case <-done:
	case <-by.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (c *Conn) get(p []byte) (int, error) {
	if isClosed(c.readBy.passed()) {
		return 0, os.ErrDeadlineExceeded
	}
	c.mu.Lock()
	defer c.unlock()
	n := 0
	if !c.closed {
		n = c.rx.read(p)
	}
	if n > 0 {
		c.consumed()
		return n, nil
	}
	return 0, c.readErr()
}

// readErr is what Read returns when there is nothing to be read; nil means that
// there may be later.
func (c *Conn) readErr() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.rx.atEnd():
		c.consumed()
		return io.EOF
	}
	return c.err
}

// consumed is called after the user has taken something.
func (c *Conn) consumed() {
	if c.rx.ackDue() {
		c.say.ack = true
		c.path.poke()
	} else if c.rx.unsaid() > 0 && c.ackBy.IsZero() {
		now := time.Now()
		c.ackBy = now.Add(ackDelay)
		c.arm(now)
	}
	c.settle()
}

// gather is how many spans WriteTo writes at once.
const gather = 16

// WriteTo writes all that comes to w, straight from where it was received.
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	var total int64
	var held [gather]*chunk
	parts := make(net.Buffers, 0, gather)
	for {
		bufs, err := c.peek(parts[:0], held[:0])
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		if len(bufs) == 0 {
			if err := wait(c.readable, c.done, &c.readBy); err != nil {
				return total, err
			}
			continue
		}
		count := len(bufs)
		n, err := writeAll(w, &bufs)
		total += n
		c.took(int(n), held[:count])
		if err != nil {
			return total, err
		}
	}
}

// writeAll writes bufs by as few calls as w allows.
func writeAll(w io.Writer, bufs *net.Buffers) (int64, error) {
	if len(*bufs) == 1 {
		n, err := w.Write((*bufs)[0])
		return int64(n), err
	}
	return bufs.WriteTo(w)
}

// peek returns what can be read, without taking it, and holds its memory.
func (c *Conn) peek(bufs net.Buffers, held []*chunk) (net.Buffers, error) {
	if isClosed(c.readBy.passed()) {
		return nil, os.ErrDeadlineExceeded
	}
	c.mu.Lock()
	defer c.unlock()
	if !c.closed {
		for i := c.rx.first; i < len(c.rx.spans) && len(bufs) < gather; i++ {
			s := c.rx.spans[i]
			s.refs++
			held = append(held, s.chunk)
			bufs = append(bufs, s.buf[s.from:s.to])
		}
	}
	if len(bufs) > 0 {
		return bufs, nil
	}
	return nil, c.readErr()
}

// took is called after n bytes of what peek returned were taken.
func (c *Conn) took(n int, held []*chunk) {
	c.mu.Lock()
	defer c.unlock()
	if !c.closed {
		c.rx.advance(n)
		c.consumed()
	}
	for i, chunk := range held {
		chunk.drop()
		held[i] = nil
	}
}

// Write gives p to the stream, and waits while the ring is full.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
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
		if err := wait(c.writable, c.done, &c.writeBy); err != nil {
			return n, err
		}
	}
}

func (c *Conn) put(p []byte) (int, error) {
	if isClosed(c.writeBy.passed()) {
		return 0, os.ErrDeadlineExceeded
	}
	c.mu.Lock()
	defer c.unlock()
	if err := c.writeErr(); err != nil {
		return 0, err
	}
	if c.state == Up && c.tx.unsent() >= maxUnsent {
		return 0, nil
	}
	n := c.tx.append(p)
	if n > 0 {
		c.busy()
		c.path.poke()
	}
	return n, nil
}

func (c *Conn) writeErr() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.tx.fin:
		return io.ErrClosedPipe
	case c.tx.gone && (c.err == nil || errors.Is(c.err, errFinished)):
		return ErrStopped
	case errors.Is(c.err, errFinished):
		return io.ErrClosedPipe
	}
	return c.err
}

// busy tells the detector that something is unacknowledged now.
func (c *Conn) busy() {
	if !c.det.busy.IsZero() {
		return
	}
	now := time.Now()
	c.det.sending(now, true)
	if c.det.asked.IsZero() {
		c.det.wake = c.det.pingAt()
	}
	c.arm(now)
}

// CloseWrite says that nothing more is written; the other user reads io.EOF
// after the last byte. Reading goes on.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.unlock()
	if c.err != nil || c.closed {
		return c.writeErr()
	}
	c.finishWriting()
	return nil
}

func (c *Conn) finishWriting() {
	if !c.tx.fin {
		c.tx.finish()
		c.busy()
		c.path.poke()
		signal(c.writable)
	}
	c.settle()
}

// Close ends both directions. What was written still arrives: at a server in
// the background, at a client before Close returns, which waits 10 s for it. The
// other end is told if it has written what was not read.
func (c *Conn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.say.stop = !c.rx.fin
		c.rx.abandon()
		if c.err != nil {
			c.rx.release()
		} else {
			c.say.ack = true
			c.finishWriting()
			c.path.poke()
		}
		signal(c.readable)
		signal(c.writable)
	}
	c.unlock()
	return c.side.closed()
}

// CloseWithError ends both directions at once. The other user's Read and Write
// fail with a ResetError that has the reason.
func (c *Conn) CloseWithError(reason error) error {
	c.abort(reason, resetByUser)
	return c.Close()
}

func (c *Conn) abort(reason error, code uint16) {
	c.mu.Lock()
	defer c.unlock()
	if c.err == nil {
		c.say.reset, c.say.code, c.say.text = true, code, reason.Error()
		c.end(&abortError{reason})
	}
}

// abortError is how the local user ended a stream.
type abortError struct{ reason error }

func (a *abortError) Error() string { return "closed: " + a.reason.Error() }
func (a *abortError) Unwrap() error { return a.reason }

// settle ends the stream when both directions have come to their ends. What the
// user has not read yet needs no path.
func (c *Conn) settle() {
	if c.tx.done() && (c.rx.fin || c.closed) {
		c.end(errFinished)
	}
}

// end is the only place that ends a stream.
func (c *Conn) end(err error) {
	if c.err != nil {
		return
	}
	why := ""
	if !errors.Is(err, errFinished) {
		why = err.Error()
	}
	c.setState(Ended, time.Now(), why)
	c.err = err
	close(c.done)
	c.tx.abandon()
	if c.closed {
		c.rx.release()
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.path != nil {
		c.path.finish()
	}
}

// Err is why the stream has ended: nil while it has not, or when it ended well.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.unlock()
	if errors.Is(c.err, errFinished) {
		return nil
	}
	return c.err
}

// Done is closed when the stream has ended, well or not.
func (c *Conn) Done() <-chan struct{} { return c.done }

// arm sets the timer to the next time at which something is to be done.
func (c *Conn) arm(now time.Time) {
	if c.err != nil {
		return
	}
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	sooner(c.expiry)
	if c.path != nil && c.path.ready {
		sooner(c.ackBy)
		sooner(c.det.wake)
	}
	// A timer that fires too early costs less than moving it with every frame.
	if next.IsZero() || !c.due.IsZero() && !next.Before(c.due) {
		return
	}
	c.due = next
	if c.timer == nil {
		c.timer = time.AfterFunc(next.Sub(now), c.tick)
	} else {
		c.timer.Reset(next.Sub(now))
	}
}

// tick does what is due.
func (c *Conn) tick() {
	c.mu.Lock()
	defer c.unlock()
	now := time.Now()
	if c.err != nil || c.due.IsZero() {
		return
	}
	c.due = time.Time{}
	if !c.expiry.IsZero() && !now.Before(c.expiry) {
		c.end(c.expire)
		return
	}
	if c.path != nil && c.path.ready {
		c.watch(now)
	}
	c.arm(now)
}

// watch sends a late ACK, and asks the detector about the path.
func (c *Conn) watch(now time.Time) {
	if !c.ackBy.IsZero() && !now.Before(c.ackBy) {
		c.ackBy = time.Time{}
		c.say.ack = c.rx.unsaid() > 0
		c.path.poke()
	}
	if c.rx.wide() && !c.rx.giving && now.Sub(c.rx.came) >= clientPing {
		c.say.narrow = true
		c.askPath()
	}
	switch c.det.judge(now) {
	case pathAsk:
		c.askPath()
	case pathSuspect:
		c.setState(Stalled, c.det.asked, "no answer")
		c.side.suspect()
	case pathDead:
		c.path.fail(errSilent)
	}
}

// askPath sends a PING.
func (c *Conn) askPath() {
	c.say.ping = true
	c.say.pinged++
	c.path.poke()
}

// proved is called when the other end has shown that it hears us.
func (c *Conn) proved(now time.Time) {
	c.det.proved(now)
	c.path.proven = true
	c.setState(Up, now, "")
	c.side.trusted()
}

// idString names the stream in logs: enough to find it, too little to use it.
func (c *Conn) idString() string {
	if c.keys == nil {
		return "opening"
	}
	return hex.EncodeToString(c.keys.id[:4])
}

// LocalAddr names this end.
func (c *Conn) LocalAddr() net.Addr {
	local, _ := c.side.addr()
	return addr(local)
}

// RemoteAddr names the other end. It has no address that stays.
func (c *Conn) RemoteAddr() net.Addr {
	_, remote := c.side.addr()
	return addr(remote)
}

type addr string

func (addr) Network() string  { return "stream" }
func (a addr) String() string { return string(a) }

// SetDeadline is both of SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	c.readBy.set(t)
	c.writeBy.set(t)
	return nil
}

// SetReadDeadline bounds how long Read waits.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readBy.set(t)
	return nil
}

// SetWriteDeadline bounds how long Write waits for room in the ring.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeBy.set(t)
	return nil
}

var _ net.Conn = (*Conn)(nil)
