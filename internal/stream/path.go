package stream

import (
	"net"
	"sync"
	"time"
)

const (
	maxBatch   = largeSlab // written to a path at once
	smallBatch = 1 << 10   // copied, to be one write with what is said beside it
	saidMost   = 512       // more than all control frames together
	busyTime   = time.Second
)

// path is one connection that a stream travels over. Its reader is the
// goroutine that calls run; the writer is started and joined there.
type path struct {
	c     *Conn
	conn  net.Conn
	wake  chan struct{} // holds a value when there is something to write
	gone  chan struct{} // closed with the connection
	once  sync.Once
	greet func() error // reads what comes before the frames; may be nil

	// Of the reader alone.
	in      *chunk
	at      int // what is in [at, got) of in was not parsed yet
	got     int
	hadMuch time.Time // when a read last filled the chunk

	// Under the Conn's lock.
	ready   bool // the handshake is over
	proven  bool // it has carried something
	born    time.Time
	failure error       // why it was closed, if we did it
	last    bool        // the stream has ended: say the last words
	killer  *time.Timer // ends waiting for the last words
}

func newPath(c *Conn, conn net.Conn) *path {
	return &path{
		c:    c,
		conn: conn,
		wake: make(chan struct{}, 1),
		gone: make(chan struct{}),
		born: time.Now(),
	}
}

// poke tells the writer to look again. There may be no path.
func (p *path) poke() {
	if p != nil {
		signal(p.wake)
	}
}

// close ends the path. Both goroutines notice.
func (p *path) close() {
	p.once.Do(func() {
		close(p.gone)
		p.conn.Close()
	})
}

// fail is close with a reason, by somebody who holds the lock: closing a
// connection may take a while.
func (p *path) fail(why error) {
	if p.failure == nil {
		p.failure = why
	}
	p.last = false
	p.kill(0)
}

// finish lets the writer say the last words, then closes.
func (p *path) finish() {
	p.last = true
	p.kill(lastWords)
	p.poke()
}

func (p *path) kill(after time.Duration) {
	if p.killer == nil {
		p.killer = time.AfterFunc(after, p.close)
	} else {
		p.killer.Reset(after)
	}
}

// run carries the stream over an attached path until it is lost.
func (p *path) run() error {
	var writer sync.WaitGroup
	writer.Go(p.write)
	err := p.read()
	p.close()
	writer.Wait()
	return p.c.detach(p, err)
}

// read receives frames until the path breaks or the peer violates the protocol.
func (p *path) read() error {
	if p.greet != nil {
		if err := p.greet(); err != nil {
			return err
		}
	}
	p.in = newChunk(false)
	defer p.dropChunk()
	for {
		n, err := p.conn.Read(p.in.buf[p.got:])
		if n > 0 {
			if err := p.received(n); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

func (p *path) dropChunk() {
	p.c.mu.Lock()
	defer p.c.unlock()
	p.in.drop()
}

// received parses what has come, and makes room for more.
func (p *path) received(n int) error {
	p.got += n
	now := time.Now()
	filled := p.got == len(p.in.buf)
	if filled {
		p.hadMuch = now
	}
	need, err := p.parse(now)
	if err != nil {
		return err
	}
	p.c.mu.Lock()
	defer p.c.unlock()
	p.makeRoom(need, filled, now)
	return nil
}

// parse handles every whole frame, and returns the length of the one begun.
func (p *path) parse(now time.Time) (need int, err error) {
	for {
		f, need, err := parseFrame(p.in.buf[p.at:p.got])
		if err != nil || f.typ == 0 {
			return need, err
		}
		if err := p.c.apply(p, f, now); err != nil {
			return 0, err
		}
		p.at += need
	}
}

// makeRoom sees to it that the frame begun fits into the chunk, and that an
// idle path holds a small one.
func (p *path) makeRoom(need int, filled bool, now time.Time) {
	large := len(p.in.buf) == largeChunk
	want := filled || need > smallChunk || large && now.Sub(p.hadMuch) < busyTime
	rest := p.got - p.at
	switch {
	case want != large && (want || rest == 0):
		p.changeChunk(want)
	case p.in.refs == 1 && (rest == 0 || p.at > 0 && len(p.in.buf)-p.at < need):
		p.got = copy(p.in.buf, p.in.buf[p.at:p.got])
		p.at = 0
	case len(p.in.buf)-p.at < need || p.at > 0 && len(p.in.buf)-p.got < len(p.in.buf)/4:
		p.changeChunk(want)
	}
}

// changeChunk goes on in another chunk, with what was not parsed.
func (p *path) changeChunk(large bool) {
	next := newChunk(large)
	p.got = copy(next.buf, p.in.buf[p.at:p.got])
	p.at = 0
	p.in.drop()
	p.in = next
}

// write sends what there is to send until the path is closed.
func (p *path) write() {
	var said [saidMost + smallBatch]byte
	var sent *slab
	for {
		words, data, from, last := p.c.batch(p, said[:0], sent)
		sent = from
		if err := p.send(words, data); err != nil {
			p.c.release(from)
			p.close()
			return
		}
		if last {
			p.afterLast()
			return
		}
		if len(words)+len(data) > 0 {
			continue
		}
		select {
		case <-p.wake:
		case <-p.gone:
			p.c.release(from)
			return
		}
	}
}

// send writes both by one call where the connection can.
func (p *path) send(words, data []byte) error {
	var err error
	switch {
	case len(words) == 0 && len(data) == 0:
	case len(data) == 0:
		_, err = p.conn.Write(words)
	case len(words) == 0:
		_, err = p.conn.Write(data)
	case len(data) <= smallBatch:
		_, err = p.conn.Write(append(words, data...))
	default:
		bufs := net.Buffers{words, data}
		_, err = bufs.WriteTo(p.conn)
	}
	return err
}

// afterLast closes the path of an ended stream. A client leaves it to the
// server: a relay that sees its client go may drop the last words.
func (p *path) afterLast() {
	if !p.c.client {
		p.close()
	}
}

// batch collects what is to be sent now; slab is what data lies in, to be given
// back with the next call.
func (c *Conn) batch(p *path, said []byte, sent *slab) (words, data []byte, from *slab, last bool) {
	c.mu.Lock()
	defer c.unlock()
	c.tx.release(sent)
	if c.path != p {
		return nil, nil, nil, false
	}
	if c.err == nil {
		from, data = c.tx.take(maxBatch, c.limit)
		if len(data) > 0 {
			signal(c.writable)
		}
	}
	if p.ready {
		said = c.words(said, len(data) > 0 && len(data) <= smallBatch)
	}
	return said, data, from, p.last
}

func (c *Conn) release(s *slab) {
	c.mu.Lock()
	defer c.unlock()
	c.tx.release(s)
}

// words encodes what is to be said beside the data. Whatever is one write with
// it takes an ACK along; beside much data an ACK would be a write of its own,
// which every relay on the way passes on by itself, so that there it waits until
// it is due.
func (c *Conn) words(b []byte, more bool) []byte {
	s := &c.say
	if s.confirm {
		sum := c.keys.confirmMAC()
		b = appendFrame(b, frameConfirm, sum[:])
	}
	if s.pong {
		b = appendNumbers(b, framePong, s.asked)
	}
	if s.ack || (more || len(b) > 0 || s.ping) && c.rx.unsaid() > 0 {
		now := time.Now()
		c.measure(now)
		consumed, limit := c.rx.ack(now, c.rtt)
		b = appendNumbers(b, frameAck, consumed, limit)
		c.ackBy = time.Time{}
	}
	if s.narrow && c.rx.wide() {
		consumed, limit := c.rx.narrow()
		b = appendNumbers(b, frameAck, consumed, limit)
	}
	if s.ping {
		c.pingSent = time.Now()
		b = appendNumbers(b, framePing, s.pinged)
	}
	if s.stop {
		b = appendFrame(b, frameStop)
	}
	if s.reset {
		b = appendReset(b, s.code, s.text)
	}
	*s = control{pinged: s.pinged}
	return b
}

// apply does what a frame says. Nothing that comes on a path that has been
// replaced counts.
func (c *Conn) apply(p *path, f frame, now time.Time) error {
	c.mu.Lock()
	defer c.unlock()
	if c.path != p {
		return errReplaced
	}
	if c.err != nil {
		return nil // the last words of the other end
	}
	c.det.heard = now
	switch f.typ {
	case frameData:
		return c.applyData(p, f, now)
	case frameAck:
		return c.applyAck(f, now)
	case framePing:
		c.say.pong, c.say.asked = true, f.offset()
		p.poke()
	case framePong:
		c.applyPong(f, now)
	case frameFin:
		return c.applyFin(f)
	case frameReset:
		c.end(&ResetError{string(f.payload[2:])})
	case frameStop:
		c.applyStop()
	case frameConfirm:
		return c.applyConfirm(f)
	}
	return nil
}

func (c *Conn) applyData(p *path, f frame, now time.Time) error {
	if err := c.rx.data(f.offset(), f.data(), p.in, now); err != nil {
		return err
	}
	p.proven = true
	signal(c.readable)
	if c.closed {
		c.consumed()
	}
	return nil
}

func (c *Conn) applyAck(f frame, now time.Time) error {
	base := c.tx.base
	if err := c.tx.ack(f.offset()); err != nil {
		return err
	}
	c.limit = f.limit()
	if c.tx.base > base {
		c.proved(now)
		c.det.sending(now, c.tx.unacked() > 0)
		signal(c.writable)
		c.settle()
	}
	c.path.poke()
	return nil
}

func (c *Conn) applyPong(f frame, now time.Time) {
	if f.offset() != c.say.pinged || c.say.ping || c.pingSent.IsZero() {
		return // an answer to an earlier question
	}
	if took := now.Sub(c.pingSent); c.rtt == 0 || took < c.rtt {
		c.rtt = took
	}
	c.proved(now)
	c.rx.narrowed()
}

// measure asks for the round trip now and then while bytes come: it is what the
// width of the window depends on.
func (c *Conn) measure(now time.Time) {
	if c.rx.much() && now.Sub(c.pingSent) >= time.Second && c.det.asked.IsZero() {
		c.say.ping = true
		c.say.pinged++
	}
}

func (c *Conn) applyFin(f frame) error {
	if err := c.rx.end(f.offset()); err != nil {
		return err
	}
	signal(c.readable)
	c.consumed()
	return nil
}

func (c *Conn) applyStop() {
	c.tx.abandon()
	c.det.sending(time.Now(), false)
	signal(c.writable)
	c.settle()
}

func (c *Conn) applyConfirm(f frame) error {
	if c.client || !sameMAC([macLen]byte(f.payload), c.keys.confirmMAC()) {
		return violation("CONFIRM")
	}
	c.confirmed = true
	return nil
}

// attach makes p the live path: what was sent from offset next on is sent again.
// The path that was live is returned, to be closed.
func (c *Conn) attach(p *path, next, limit uint64) (old *path) {
	now := time.Now()
	old, c.path = c.path, p
	c.tx.rewind(next)
	c.limit = limit
	c.say = control{pinged: c.say.pinged, ack: true, stop: c.closed && !c.rx.fin}
	c.ackBy, c.expiry = time.Time{}, time.Time{}
	if p.ready {
		c.begin(p, now)
	}
	p.poke()
	return old
}

// begin starts watching a path whose handshake is over.
func (c *Conn) begin(p *path, now time.Time) {
	p.ready = true
	c.rtt, c.pingSent = 0, time.Time{}
	c.det.begin(now)
	c.det.sending(now, c.tx.unacked() > 0)
	c.det.wake = c.det.pingAt()
	c.setState(Up, now, "")
	c.arm(now)
	p.poke()
}

// detach is called when p carries nothing any more; err is what its reader saw.
func (c *Conn) detach(p *path, err error) error {
	c.mu.Lock()
	defer c.unlock()
	if p.killer != nil {
		p.killer.Stop()
	}
	if c.path != p {
		return errReplaced
	}
	c.path = nil
	if p.failure != nil {
		err = p.failure
	}
	if c.err != nil {
		return nil
	}
	now := time.Now()
	c.setState(Redialling, now, err.Error())
	c.side.lost(p, now)
	c.arm(now)
	return err
}
