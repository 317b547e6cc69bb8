package stream

import (
	"encoding/binary"
	"sync"
)

// Bounds of a ring.
const (
	smallSlab = 16 << 10  // the first slab, which does not count against the budget
	largeSlab = 128 << 10 // the slabs after it
	maxRing   = 8 << 20
)

// slab is a part of the ring. It contains whole frames, one after the other, so that one call can
// write several to a path, and to the next path again.
type slab struct {
	buf  []byte
	fill int
	end  uint64 // the offset after the last frame
	// pins counts the writers that hold a part of buf. A writer may be stuck in a path that was
	// replaced long ago, so a slab with pins is never reused.
	pins int
}

var (
	smallSlabs = sync.Pool{New: func() any { return &slab{buf: make([]byte, smallSlab)} }}
	largeSlabs = sync.Pool{New: func() any { return &slab{buf: make([]byte, largeSlab)} }}
)

// recycle makes the slab available to other streams.
func (s *slab) recycle() {
	if s.pins > 0 {
		return
	}
	s.fill, s.end = 0, 0
	if len(s.buf) == smallSlab {
		smallSlabs.Put(s)
	} else {
		largeSlabs.Put(s)
	}
}

// span returns the offsets of the user's bytes in the frame at i; a FIN is one byte long.
func (s *slab) span(i int) (from, to uint64) {
	from = binary.BigEndian.Uint64(s.buf[i+headerLen:])
	if frameType(s.buf[i]) == frameFin {
		return from, from + 1
	}
	return from, from + uint64(s.length(i)-dataStart)
}

// length returns the length of the frame at i.
func (s *slab) length(i int) int {
	return headerLen + (int(s.buf[i+1])<<16 | int(s.buf[i+2])<<8 | int(s.buf[i+3]))
}

// sendQueue is the ring: the bytes that the user has written and the peer has not acknowledged. It
// is a list of slabs, so that growing copies nothing, and memory is freed slab by slab.
type sendQueue struct {
	budget *Budget
	slabs  []*slab
	held   int // bytes of all slabs

	base uint64 // all bytes below are acknowledged
	sent uint64 // all bytes below have been sent on some path
	end  uint64 // the user has written all bytes below

	// The next frame to send on the live path begins at pos in slabs[at].
	at, pos int
	// open is the start of the last frame of the last slab while that frame may grow; -1 when it is
	// sealed.
	open int

	fin  bool   // the user has closed this direction; the FIN is the byte at end-1
	gone bool   // the peer needs no more bytes
	left uint64 // number of bytes that were unacknowledged then
}

func newSendQueue(b *Budget) sendQueue { return sendQueue{budget: b, open: -1} }

// append copies as much of p as there is room for, at most a slab, and returns the number of bytes.
func (q *sendQueue) append(p []byte) int {
	s := q.room(dataStart + 1)
	if s == nil {
		return 0
	}
	n := 0
	for n < len(p) {
		k := q.grow(s, p[n:])
		if k == 0 {
			break
		}
		n += k
	}
	return n
}

// grow copies a part of p into the open frame of s, or into a new frame, and returns its length.
func (q *sendQueue) grow(s *slab, p []byte) int {
	if q.open >= 0 && s.length(q.open) >= maxFrame {
		q.sealOpen()
	}
	if q.open < 0 {
		if len(s.buf)-s.fill <= dataStart {
			return 0
		}
		q.open = s.fill
		s.fill += dataStart
		putHeader(s.buf[q.open:], frameData, offsetLen)
		binary.BigEndian.PutUint64(s.buf[q.open+headerLen:], q.end)
	}
	n := min(len(p), len(s.buf)-s.fill, q.open+maxFrame-s.fill)
	copy(s.buf[s.fill:], p[:n])
	s.fill += n
	q.end += uint64(n)
	s.end = q.end
	putHeader(s.buf[q.open:], frameData, s.fill-q.open-headerLen)
	return n
}

// sealOpen ends the growth of the last frame.
func (q *sendQueue) sealOpen() {
	if q.open < 0 {
		return
	}
	s := q.slabs[len(q.slabs)-1]
	seal(s.buf[q.open:s.fill])
	q.open = -1
}

// room returns the last slab if it has room for need bytes, or if its open frame can grow;
// otherwise a new slab. It returns nil when the ring is full.
func (q *sendQueue) room(need int) *slab {
	if n := len(q.slabs); n > 0 {
		s := q.slabs[n-1]
		if len(s.buf)-s.fill >= need || q.open >= 0 && s.fill < min(len(s.buf), q.open+maxFrame) {
			return s
		}
	}
	return q.add()
}

func (q *sendQueue) add() *slab {
	var s *slab
	switch {
	case len(q.slabs) == 0:
		s = smallSlabs.Get().(*slab)
	case q.held+largeSlab > maxRing || !q.budget.take(largeSlab):
		return nil
	default:
		s = largeSlabs.Get().(*slab)
	}
	q.push(s)
	return s
}

func (q *sendQueue) push(s *slab) {
	q.sealOpen()
	q.slabs = append(q.slabs, s)
	q.held += len(s.buf)
}

// finish queues the FIN. It always makes room for it, so that the FIN is a frame in the ring like
// any other.
func (q *sendQueue) finish() {
	if q.fin {
		return
	}
	q.fin = true
	if q.gone {
		q.end++
		q.base = q.end
		return
	}
	q.sealOpen()
	s := q.room(headerLen + 8)
	if s == nil {
		// The ring is full. This happens once for each stream, and does not count against the
		// budget.
		s = &slab{buf: make([]byte, headerLen+8)}
		q.slabs = append(q.slabs, s)
		q.held += len(s.buf)
	}
	b := appendNumbers(s.buf[s.fill:s.fill], frameFin, q.end)
	s.fill += len(b)
	q.end++
	s.end = q.end
}

// take returns the next frames for the live path: at most most bytes, and none beyond the peer's
// limit. It pins their slab until release. It returns nil when there is nothing to send now.
func (q *sendQueue) take(most int, limit uint64) (*slab, []byte) {
	for q.at < len(q.slabs)-1 && q.pos >= q.slabs[q.at].fill {
		q.at, q.pos = q.at+1, 0
	}
	if q.at >= len(q.slabs) || q.pos >= q.slabs[q.at].fill {
		return nil, nil
	}
	s := q.slabs[q.at]
	stop := q.walk(s, q.pos, most, limit)
	if stop == q.pos {
		return nil, nil
	}
	b := s.buf[q.pos:stop:stop]
	q.pos = stop
	s.pins++
	return s, b
}

// walk returns the end of the frames from pos on that may be sent. It seals the open frame if that
// is one of them.
func (q *sendQueue) walk(s *slab, pos, most int, limit uint64) int {
	last := s == q.slabs[len(q.slabs)-1]
	stop := pos
	for stop < s.fill {
		_, to := s.span(stop)
		next := stop + s.length(stop)
		// A FIN holds no memory at the receiver, so no limit holds it back.
		if next-pos > most && stop > pos || to > limit && frameType(s.buf[stop]) != frameFin {
			break
		}
		if last && stop == q.open {
			q.sealOpen()
		}
		q.sent = max(q.sent, to)
		stop = next
	}
	return stop
}

// release unpins a slab that take has returned.
func (q *sendQueue) release(s *slab) {
	if s != nil {
		s.pins--
	}
}

// ack drops the bytes that the peer has consumed.
func (q *sendQueue) ack(consumed uint64) error {
	if consumed > q.sent {
		return violation("ACK of %d, sent is %d", consumed, q.sent)
	}
	if consumed <= q.base {
		return nil
	}
	q.base = consumed
	// A slab goes as a whole: its frames are not looked at, since they have left the CPU's cache.
	for len(q.slabs) > 0 && q.slabs[0].end <= q.base {
		q.drop()
	}
	// The peer may have received more on the previous path than its hello said.
	for len(q.slabs) > 0 && q.at == 0 && q.pos < q.slabs[0].fill {
		s := q.slabs[0]
		if _, to := s.span(q.pos); to > q.base {
			break
		}
		q.pos += s.length(q.pos)
	}
	return nil
}

// drop removes the first slab.
func (q *sendQueue) drop() {
	s := q.slabs[0]
	q.slabs[0] = nil
	q.slabs = q.slabs[1:]
	if len(q.slabs) == 0 {
		q.slabs, q.open = nil, -1
	}
	q.held -= len(s.buf)
	if len(s.buf) == largeSlab {
		q.budget.give(largeSlab)
	}
	if len(s.buf) >= smallSlab {
		s.recycle()
	}
	if q.at > 0 {
		q.at--
	} else {
		q.pos = 0
	}
}

// resumable reports whether the stream can continue at the offset received.
func (q *sendQueue) resumable(received uint64) bool {
	return q.gone || received >= q.base && received <= q.sent
}

// maybeResumable is resumable for an offset that may be old. While a hello or its answer is under
// way, the previous path may still carry and acknowledge bytes.
func (q *sendQueue) maybeResumable(received uint64) bool { return q.gone || received <= q.sent }

// rewind makes the frame that contains offset the next one to send.
func (q *sendQueue) rewind(offset uint64) { q.at, q.pos = q.find(offset) }

// find returns the position of the frame that contains offset, or the end of the ring.
func (q *sendQueue) find(offset uint64) (at, pos int) {
	for i, s := range q.slabs {
		if s.end <= offset {
			continue
		}
		for pos := 0; pos < s.fill; pos += s.length(pos) {
			if _, to := s.span(pos); to > offset {
				return i, pos
			}
		}
	}
	if n := len(q.slabs); n > 0 {
		return n - 1, q.slabs[n-1].fill
	}
	return 0, 0
}

// copyFrom returns a copy of the frames from offset on, at most most bytes and none beyond limit,
// and the offset after them. It does not change the bytes that are sent on the live path.
func (q *sendQueue) copyFrom(offset, limit uint64, most int) (b []byte, next uint64) {
	next = offset
	if offset < q.end {
		b = make([]byte, 0, min(most, int(min(q.end-offset, maxRing))+maxFrame))
	}
	at, pos := q.find(offset)
	for ; at < len(q.slabs); at++ {
		s := q.slabs[at]
		for pos < s.fill {
			stop := q.walk(s, pos, 0, limit)
			if stop == pos || len(b)+stop-pos > most {
				return b, next
			}
			b = append(b, s.buf[pos:stop]...)
			_, next = s.span(pos)
			pos = stop
		}
		pos = 0
	}
	return b, next
}

// written returns the number of bytes that the user has written.
func (q *sendQueue) written() uint64 {
	if q.fin {
		return q.end - 1
	}
	return q.end
}

// unsent returns the number of bytes that have not been sent on any path.
func (q *sendQueue) unsent() uint64 { return q.end - q.sent }

// unacked returns the number of bytes that the peer has not consumed.
func (q *sendQueue) unacked() uint64 { return q.end - q.base }

// done reports whether nothing will have to be sent any more.
func (q *sendQueue) done() bool { return q.gone || q.fin && q.base == q.end }

// abandon releases all slabs. The peer needs no more bytes.
func (q *sendQueue) abandon() {
	for len(q.slabs) > 0 {
		q.drop()
	}
	q.left = max(q.left, q.unacked())
	q.gone, q.base, q.sent = true, q.end, q.end
	q.at, q.pos, q.open = 0, 0, -1
}
