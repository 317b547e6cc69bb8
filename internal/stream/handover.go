package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// savedVersion is the first byte of a saved stream.
const savedVersion = 1

// Flags of a saved stream.
const (
	savedSendFin = 1 << iota
	savedSendGone
	savedRecvFin
	savedAll = 1<<iota - 1
)

// saved is the state with which another process can continue a client's stream. It contains the
// stream's secrets.
type saved struct {
	keys     keys
	epoch    uint64
	flags    byte
	base     uint64 // offset of the first byte in unacked
	sent     uint64
	consumed uint64 // offset of the first byte in unread
	unacked  []byte
	unread   []byte
}

func (s *saved) encode() []byte {
	b := append([]byte{savedVersion}, s.keys.id[:]...)
	b = append(b, s.keys.client[:]...)
	b = append(b, s.keys.server[:]...)
	b = append(b, s.flags)
	for _, n := range []uint64{s.epoch, s.base, s.sent, s.consumed, uint64(len(s.unacked))} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, s.unacked...)
	return append(b, s.unread...)
}

// savedHead is the length of the parts with a fixed length.
const savedHead = 1 + idLen + 2*keyLen + 1 + 5*8

var errSaved = errors.New("this is not a saved stream")

func decodeSaved(b []byte) (*saved, error) {
	if len(b) < savedHead || b[0] != savedVersion {
		return nil, errSaved
	}
	var s saved
	c := cursor(b[1:])
	c.bytes(s.keys.id[:])
	c.bytes(s.keys.client[:])
	c.bytes(s.keys.server[:])
	s.flags, c = c[0], c[1:]
	s.epoch, s.base, s.sent, s.consumed = c.number(), c.number(), c.number(), c.number()
	unacked := c.number()
	if unacked > maxRing || unacked > uint64(len(c)) || uint64(len(c))-unacked > maxWindow || s.flags > savedAll {
		return nil, errSaved
	}
	s.unacked, s.unread = c[:unacked], c[unacked:]
	end := s.base + unacked
	if s.flags&savedSendFin != 0 {
		end++
	}
	if s.sent < s.base || s.sent > end || end < s.base || s.consumed+maxWindow+1 < s.consumed {
		return nil, errSaved
	}
	return &s, nil
}

// HandOver ends c in this process without telling the other end. It returns the state with which
// Restore continues the stream in another process. There must be no concurrent Read or Write. The
// caller hands over the bytes that it has already read. The result contains secrets.
func (c *Conn) HandOver() ([]byte, error) {
	cl, ok := c.side.(*client)
	if !ok {
		return nil, errors.New("only a client's stream can be handed over")
	}
	s, err := c.save()
	if err != nil {
		return nil, err
	}
	cl.unhook()
	cl.all.Wait()
	return s.encode(), nil
}

// save takes the stream's state and ends the stream.
func (c *Conn) save() (s *saved, err error) {
	c.step(time.Now(), func() (do effects) {
		switch {
		case c.wire.err != nil:
			err = c.wire.err
		case c.wire.closed:
			err = net.ErrClosed
		case c.wire.keys == nil:
			err = errors.New("the other end has not answered yet")
		default:
			s, do = c.wire.save()
		}
		return do
	})
	return s, err
}

// Restore continues a stream that HandOver has ended in another process. The other end notices only
// a new path.
func Restore(ctx context.Context, cfg Config, state []byte) (*Conn, error) {
	s, err := decodeSaved(state)
	if err != nil {
		return nil, err
	}
	cl, err := newClient(ctx, cfg)
	if err != nil {
		return nil, err
	}
	c := cl.c
	c.wire.restore(s, time.Now())
	signal(c.in.ready)
	cl.start(ctx)
	return c, nil
}

// contents returns the user's unacknowledged bytes.
func (q *sendQueue) contents() []byte {
	b := make([]byte, 0, q.unacked())
	for _, s := range q.slabs {
		for i := 0; i < s.fill; i += s.length(i) {
			if from, to := s.span(i); to > q.base && frameType(s.buf[i]) == frameData {
				data := s.buf[i+dataStart : i+s.length(i)]
				b = append(b, data[max(q.base, from)-from:]...)
			}
		}
	}
	return b
}

// restore fills an empty ring. It takes the memory even beyond the budget: the process before had
// it from the same budget.
func (q *sendQueue) restore(s *saved) {
	q.base, q.end = s.base, s.base
	for p := s.unacked; len(p) > 0; {
		n := q.append(p)
		if n == 0 {
			q.budget.force(largeSlab)
			q.push(largeSlabs.Get().(*slab))
		}
		p = p[n:]
	}
	// These frames were sent, so none may grow: the other end may have all of them, and is sent
	// only bytes after them.
	q.sealOpen()
	if s.flags&savedSendFin != 0 {
		q.finish()
	}
	q.sent = s.sent
	if s.flags&savedSendGone != 0 {
		q.abandon()
	}
}

// restore fills an empty window.
func (q *recvQueue) restore(s *saved) {
	q.consumed, q.acked = s.consumed, s.consumed
	q.received = s.consumed + uint64(len(s.unread))
	q.limit = q.consumed + uint64(q.window)
	q.accept = q.limit
	q.copy(s.unread)
	if s.flags&savedRecvFin != 0 {
		q.fin = true
		q.received++
	}
}
