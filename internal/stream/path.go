package stream

import (
	"net"
	"sync"
	"time"
)

const (
	maxBatch   = largeSlab // bytes written to a path at once
	smallBatch = 1 << 10   // copied, to be written together with control frames
	saidMost   = 512       // more than all control frames together
	busyTime   = time.Second
	lastWords  = time.Second // time for the last frames of an ended stream
	// answerWait is the time that the answer to an open waits for the server's first data. Both go in
	// one write, or a bastion before OpenSSH 10.1 holds up the data for a round trip.
	answerWait = 5 * time.Millisecond
)

// path is one connection that carries a stream. Its reader is the goroutine that calls run, which
// starts and joins the writer.
type path struct {
	c     *Conn
	conn  net.Conn
	wake  chan struct{} // has a value when there is something to write
	gone  chan struct{} // closed with the connection
	once  sync.Once
	greet func() error // reads the messages before the frames; may be nil
	hello []byte       // to be written before the frames

	// Only the reader uses the following fields.
	in      *chunk
	at      int // the bytes [at, got) of in are not parsed yet
	got     int
	hadMuch time.Time // when a read last filled the chunk

	born time.Time
	// Under the Conn's lock.
	failure error       // why it was closed, if this end did
	last    bool        // the stream has ended: send the last frames
	killer  *time.Timer // bounds the time for the last frames
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

// poke wakes the writer. p may be nil.
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

// fail is close with a reason, for a caller that holds the lock: closing a connection may take a
// while.
func (p *path) fail(why error) {
	if p.failure == nil {
		p.failure = why
	}
	p.last = false
	p.kill(0)
}

// finish lets the writer send the last frames, and then closes the path.
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

// endKiller is called when the path is closed.
func (p *path) endKiller() {
	if p.killer != nil {
		p.killer.Stop()
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
	defer p.c.mu.Unlock()
	p.in.drop()
}

// received parses new bytes, and makes room for more.
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
	defer p.c.mu.Unlock()
	p.makeRoom(need, filled, now)
	return nil
}

// framesAtOnce is the number of frames that one step handles: about those of a large chunk.
const framesAtOnce = 8

// parse handles every complete frame. It returns the length of the incomplete frame after them.
func (p *path) parse(now time.Time) (need int, err error) {
	var frames [framesAtOnce]frame
	for full := true; full && err == nil; {
		n := 0
		for n < framesAtOnce {
			if frames[n], need, err = parseFrame(p.in.buf[p.at:p.got]); err != nil || frames[n].typ == 0 {
				break
			}
			p.at += need
			n++
		}
		if applied := p.c.apply(p, frames[:n], now); applied != nil {
			return 0, applied
		}
		full = n == framesAtOnce
	}
	return need, err
}

// makeRoom makes sure that the incomplete frame fits into the chunk, and that an idle path holds a
// small one.
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

// changeChunk switches to another chunk, with the bytes that are not parsed.
func (p *path) changeChunk(large bool) {
	next := newChunk(large)
	p.got = copy(next.buf, p.in.buf[p.at:p.got])
	p.at = 0
	p.in.drop()
	p.in = next
}

// write sends available data until the path is closed.
func (p *path) write() {
	var said [saidMost + smallBatch]byte
	var sent *slab
	first := append(said[:0], p.hello...)
	if len(first) > 0 {
		time.AfterFunc(answerWait, p.poke)
		select {
		case <-p.wake: // the first data, or the timer
		case <-p.gone:
		}
	}
	for {
		words, data, from, last := p.c.batch(p, first, sent)
		first, sent = said[:0], from
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

// send writes both with one call if the connection supports that.
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

// afterLast closes the path of an ended stream. A client leaves that to the server: a relay that
// sees its client disconnect may drop the last frames.
func (p *path) afterLast() {
	if !p.c.wire.client {
		p.close()
	}
}

// batch collects the frames to send now. slab holds the data, and is returned with the next call.
func (c *Conn) batch(p *path, said []byte, sent *slab) (words, data []byte, from *slab, last bool) {
	now := time.Now()
	c.step(now, func() (do effects) {
		c.wire.tx.release(sent)
		if c.path == p {
			words, data, from, do = c.wire.next(said, now)
			last = p.last
		}
		return do
	})
	return words, data, from, last
}

func (c *Conn) release(s *slab) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wire.tx.release(s)
}

// apply executes frames, up to the first violation. Frames on a path that has been replaced do not
// count.
func (c *Conn) apply(p *path, frames []frame, now time.Time) (err error) {
	var deliver func()
	c.step(now, func() (do effects) {
		if c.path != p {
			err = errReplaced
			return 0
		}
		for _, f := range frames {
			var more effects
			if more, err = c.wire.frame(f, p.in, now); err != nil {
				break
			}
			do |= more
		}
		if do.has(canRead) && c.in.deliver != nil {
			deliver = c.in.deliver
			do &^= canRead
		}
		return do
	})
	if deliver != nil {
		deliver()
	}
	return err
}
