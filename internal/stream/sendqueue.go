package stream

import (
	"encoding/binary"
	"sync"
)

// Bounds of a ring.
const (
	smallSlab = 16 << 10  // the first, which no budget is asked for
	largeSlab = 128 << 10 // and those after it
	maxRing   = 8 << 20
)

// slab is a stretch of the ring: whole frames, one behind the other, ready to be
// written to a path by one call, as often as it takes.
type slab struct {
	buf  []byte
	head int // where the first frame begins that is not acknowledged
	fill int
	// pins counts the writers that hold a part of buf. One may be stuck in a path
	// that was replaced long ago, so a slab with pins is never used again.
	pins int
}

var (
	smallSlabs = sync.Pool{New: func() any { return &slab{buf: make([]byte, smallSlab)} }}
	largeSlabs = sync.Pool{New: func() any { return &slab{buf: make([]byte, largeSlab)} }}
)

// recycle leaves the slab to another stream.
func (s *slab) recycle() {
	if s.pins > 0 {
		return
	}
	s.head, s.fill = 0, 0
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

// sendQueue is the ring: what the user has written and the peer has not
// acknowledged. It is a list of slabs, so that growing copies nothing and
// memory goes back slab by slab.
type sendQueue struct {
	budget *Budget
	slabs  []*slab
	held   int // bytes of all slabs

	base uint64 // all below is acknowledged
	sent uint64 // all below was on some path once
	end  uint64 // all below was written by the user

	// The next frame to be sent on the live path is in slabs[at] at pos.
	at, pos int
	// open is the start of the last frame of the last slab while it may still grow; -1 when it
	// is sealed.
	open int

	fin  bool // the user has written all; the FIN is the byte at end-1
	gone bool // nobody wants the bytes any more
}

func newSendQueue(b *Budget) sendQueue { return sendQueue{budget: b, open: -1} }

// append takes as much of p as there is room for, at most a slab.
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

// grow puts a part of p into the open frame of s, or into a new one.
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

// room returns the slab whose end has room for need bytes, or whose open frame
// has room for more; nil when the ring is full.
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

// finish queues the FIN. It always finds room: a FIN without a slab of its own
// would have to be remembered beside the ring.
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
		// Only the full ring's last resort: outside of the budget, once.
		s = &slab{buf: make([]byte, headerLen+8)}
		q.slabs = append(q.slabs, s)
		q.held += len(s.buf)
	}
	b := appendNumbers(s.buf[s.fill:s.fill], frameFin, q.end)
	s.fill += len(b)
	q.end++
}

// take returns frames for the live path, at most so many bytes and none beyond the
// peer's limit, pinned until release. It returns nil when there is nothing to
// send now.
func (q *sendQueue) take(most int, limit uint64) (*slab, []byte) {
	for q.at < len(q.slabs)-1 && q.pos >= q.slabs[q.at].fill {
		q.at, q.pos = q.at+1, q.slabs[q.at+1].head
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

// walk returns where the frames from pos on end that may be sent, and sees to
// it that they can be.
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

// release returns what take gave out.
func (q *sendQueue) release(s *slab) {
	if s != nil {
		s.pins--
	}
}

// ack drops what the peer has consumed.
func (q *sendQueue) ack(consumed uint64) error {
	if consumed > q.sent {
		return violation("ACK of %d, sent is %d", consumed, q.sent)
	}
	if consumed <= q.base {
		return nil
	}
	q.base = consumed
	for len(q.slabs) > 0 && q.trim(q.slabs[0]) {
		q.drop()
	}
	if len(q.slabs) > 0 && q.at == 0 {
		// The peer may have received more on the path before than it said when
		// this one began.
		q.pos = max(q.pos, q.slabs[0].head)
	}
	return nil
}

// trim moves the head of s behind what is acknowledged, and reports whether
// nothing is left of it.
func (q *sendQueue) trim(s *slab) bool {
	for s.head < s.fill {
		if _, to := s.span(s.head); to > q.base {
			return false
		}
		s.head += s.length(s.head)
	}
	return true
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
	} else if len(q.slabs) > 0 {
		q.pos = q.slabs[0].head
	} else {
		q.pos = 0
	}
}

// resumable reports whether the peer can go on from received.
func (q *sendQueue) resumable(received uint64) bool {
	return q.gone || received >= q.base && received <= q.sent
}

// maybeResumable is resumable for a number that may be old: while a hello or its
// answer is on its way, the path before may still move bytes and acknowledge
// them.
func (q *sendQueue) maybeResumable(received uint64) bool { return q.gone || received <= q.sent }

// rewind makes the frame that holds offset the next to be sent.
func (q *sendQueue) rewind(offset uint64) { q.at, q.pos = q.find(offset) }

// find returns where the frame is that holds offset, or the end.
func (q *sendQueue) find(offset uint64) (at, pos int) {
	for i, s := range q.slabs {
		for pos := s.head; pos < s.fill; pos += s.length(pos) {
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

// copyFrom returns a copy of the frames from offset on, at most so many bytes, and
// the offset behind them. The live path is not touched.
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
		if at+1 < len(q.slabs) {
			pos = q.slabs[at+1].head
		}
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

// unsent returns the number of bytes that were on no path yet.
func (q *sendQueue) unsent() uint64 { return q.end - q.sent }

// unacked returns the number of bytes that the peer has not consumed.
func (q *sendQueue) unacked() uint64 { return q.end - q.base }

// done reports whether nothing is left to be sent, ever.
func (q *sendQueue) done() bool { return q.gone || q.fin && q.base == q.end }

// abandon gives all memory back: nobody wants the bytes.
func (q *sendQueue) abandon() {
	for len(q.slabs) > 0 {
		q.drop()
	}
	q.gone, q.base, q.sent = true, q.end, q.end
	q.at, q.pos, q.open = 0, 0, -1
}
