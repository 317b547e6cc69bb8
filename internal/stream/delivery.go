package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// gather is the number of spans that a delivery writes at once.
const gather = 16

// taker is a writer that also writes without waiting. WriteAtOnce returns the number of bytes that
// it has written; every error is left to the next Write.
type taker interface {
	WriteAtOnce(net.Buffers) int
}

// delivery writes what arrives to the writer of a CopyTo. The reader of the path does so where that
// needs no waiting, since waking the goroutine of CopyTo would cost as much as the write.
type delivery struct {
	c    *Conn
	to   io.Writer
	now  taker      // to; nil if it cannot write without waiting
	turn sync.Mutex // held while bytes are written; protects all fields below

	over  bool // CopyTo has returned
	total int64
	held  [gather]*chunk
	parts [gather][]byte
}

// CopyTo writes everything that arrives to w, from the receive buffer. It returns when the other
// user has closed their direction, or with an error of the stream or of w. It is not called
// WriteTo, because every program that calls io.Copy would then hold its code.
func (c *Conn) CopyTo(w io.Writer) (int64, error) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	d := &delivery{c: c, to: w}
	if d.now, _ = w.(taker); d.now != nil {
		c.deliverBy(d.deliver)
	}
	err := d.untilEnd()
	c.deliverBy(nil)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return d.end(), err
}

// untilEnd writes what arrives until the other user has closed their direction, which is io.EOF.
func (d *delivery) untilEnd() error {
	for {
		n, err := d.next()
		if err == nil && n == 0 {
			err = d.c.in.wait(d.c.done)
		}
		if err != nil {
			return err
		}
	}
}

// deliverBy has the readers of paths call deliver when data has come.
func (c *Conn) deliverBy(deliver func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.deliver = deliver
}

// end returns when no reader of a path writes by d any more. It returns the number of bytes
// that were written.
func (d *delivery) end() int64 {
	d.turn.Lock()
	defer d.turn.Unlock()
	d.over = true
	return d.total
}

// next writes the available bytes, at most gather spans.
func (d *delivery) next() (int64, error) {
	d.turn.Lock()
	defer d.turn.Unlock()
	bufs, err := d.peek()
	if len(bufs) == 0 {
		return 0, err
	}
	count := len(bufs)
	n, err := writeAll(d.to, bufs)
	d.took(int(n), count)
	return n, err
}

// deliver is called by the reader of a path when data has come. What the writer does not take at
// once is left to CopyTo.
func (d *delivery) deliver() {
	if !d.turn.TryLock() {
		signal(d.c.in.ready)
		return
	}
	defer d.turn.Unlock()
	if d.over || !d.atOnce() {
		signal(d.c.in.ready)
	}
}

// atOnce reports whether it has left nothing to do.
func (d *delivery) atOnce() bool {
	bufs, err := d.peek()
	return err == nil && len(bufs) > 0 && d.took(d.now.WriteAtOnce(bufs), len(bufs))
}

// peek returns the available bytes without consuming them, and holds their memory.
func (d *delivery) peek() (got net.Buffers, err error) {
	c := d.c
	if isClosed(c.in.by.passed()) {
		return nil, os.ErrDeadlineExceeded
	}
	now := time.Now()
	c.step(now, func() (do effects) {
		got, do, err = c.wire.peek(d.parts[:0], d.held[:0], now)
		return do
	})
	return got, err
}

// took consumes n bytes of the count buffers that peek has returned. It reports whether nothing is
// left to read, and nothing to tell the user.
func (d *delivery) took(n, count int) (nothing bool) {
	d.total += int64(n)
	c, now := d.c, time.Now()
	c.step(now, func() effects {
		do := c.wire.took(n, d.held[:count], now)
		nothing = c.wire.err == nil && c.wire.rx.drained()
		return do
	})
	return nothing
}

// gatherer is a writer that takes several buffers by one call. Package net's do so unasked.
type gatherer interface {
	WriteBuffers(net.Buffers) (int64, error)
}

// writeAll writes bufs with as few calls as w allows.
func writeAll(w io.Writer, bufs net.Buffers) (int64, error) {
	if len(bufs) == 1 {
		n, err := w.Write(bufs[0])
		return int64(n), err
	}
	if g, ok := w.(gatherer); ok {
		return g.WriteBuffers(bufs)
	}
	return bufs.WriteTo(w)
}
