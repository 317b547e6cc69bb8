package stream

import (
	"net"
	"sync"
	"time"
)

// Bounds of a window and of the memory behind it.
const (
	smallWindow = 256 << 10 // needs no budget
	maxWindow   = 4 << 20
	ackBytes    = 256 << 10 // least number of bytes to acknowledge, once that is half a window

	smallChunk = 2 << 10   // read buffer of an idle path
	largeChunk = 128 << 10 // read buffer of a busy path

	// A round trip is assumed to be at least this long: the relays of a busy path take longer than
	// those of the idle path on which it was measured. With a round trip of 0.1 ms, a window of 256
	// KiB reduced a copy through two sshs on one machine to 0.78 of its rate with 512 KiB.
	shortPath = time.Millisecond

	// Smaller pieces are copied out of their chunk, so that small frames do not keep large chunks.
	smallData = 1 << 10
)

// chunk is memory that paths read into and users read from. refs counts the holders: a path, each
// span, a CopyTo under way.
type chunk struct {
	buf   []byte
	refs  int
	spans int // number of holders that are spans
}

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{buf: make([]byte, smallChunk)} }}
	largeChunks = sync.Pool{New: func() any { return &chunk{buf: make([]byte, largeChunk)} }}
)

// newChunk makes a chunk with one holder.
func newChunk(large bool) *chunk {
	pool := &smallChunks
	if large {
		pool = &largeChunks
	}
	c := pool.Get().(*chunk)
	c.refs = 1
	return c
}

// drop releases one holder's reference.
func (c *chunk) drop() {
	c.refs--
	switch {
	case c.refs > 0:
	case len(c.buf) == largeChunk:
		largeChunks.Put(c)
	default:
		smallChunks.Put(c)
	}
}

// span is a piece of received bytes that the user has not read.
type span struct {
	*chunk
	from, to int
}

// recvQueue is the window: received bytes that the user has not consumed.
type recvQueue struct {
	budget *Budget
	spans  []span
	first  int    // spans before it have been read
	tail   *chunk // for copies of small data; fill is its used length
	fill   int
	live   int // bytes of all chunks that spans hold

	received uint64 // the next offset to come
	consumed uint64 // consumed by the user
	acked    uint64 // the value of consumed that was last sent to the peer
	limit    uint64 // the limit that was last sent to the peer
	accept   uint64 // the limit in force: higher than limit while a window shrinks
	window   int
	came     time.Time // when the last bytes came
	mark     uint64    // consumed at the last check of the window's use
	marked   time.Time // time of that check
	giving   bool      // the window shrinks if nothing comes before the PONG

	fin     bool // the peer has closed this direction; the FIN is the byte at received-1
	discard bool // the reader has gone
}

func newRecvQueue(b *Budget) recvQueue {
	return recvQueue{budget: b, window: smallWindow, limit: smallWindow, accept: smallWindow}
}

// data queues the bytes of a frame, which are in c.
func (q *recvQueue) data(offset uint64, p []byte, c *chunk, now time.Time) error {
	end := offset + uint64(len(p))
	switch {
	case offset > q.received || end < offset:
		return violation("DATA at %d, expected %d", offset, q.received)
	case end <= q.received:
		return nil // a repetition
	case end > q.accept:
		return violation("DATA up to %d, the limit is %d", end, q.accept)
	case q.fin:
		return violation("DATA after FIN")
	}
	q.giving = false
	q.came = now
	p = p[q.received-offset:]
	q.received = end
	if q.discard {
		q.consumed = q.received
		return nil
	}
	q.keep(p, c)
	return nil
}

// keep queues p, by reference if that costs no more memory than it saves copying.
func (q *recvQueue) keep(p []byte, c *chunk) {
	if len(p) < smallData || q.live > q.window+max(q.window/4, largeChunk) {
		q.copy(p)
		return
	}
	from := cap(c.buf) - cap(p) // p is a part of c.buf, and reaches to the same end
	q.push(span{c, from, from + len(p)})
}

func (q *recvQueue) push(s span) {
	if s.spans == 0 {
		q.live += len(s.buf)
	}
	s.refs++
	s.spans++
	if q.first > 0 && len(q.spans) == cap(q.spans) {
		n := copy(q.spans, q.spans[q.first:])
		clear(q.spans[n:])
		q.spans, q.first = q.spans[:n], 0
	}
	q.spans = append(q.spans, s)
}

// copy queues a copy of p in chunks of its own.
func (q *recvQueue) copy(p []byte) {
	for len(p) > 0 {
		if q.tail == nil || q.fill == len(q.tail.buf) {
			q.newTail(len(p))
		}
		n := copy(q.tail.buf[q.fill:], p)
		q.extend(n)
		p = p[n:]
	}
}

func (q *recvQueue) newTail(need int) {
	q.dropTail()
	q.tail = newChunk(need > smallChunk || q.received-q.consumed > smallChunk)
}

func (q *recvQueue) dropTail() {
	if q.tail != nil {
		q.tail.drop()
	}
	q.tail, q.fill = nil, 0
}

// extend queues the next n bytes of the tail, as a part of the last span if they continue it.
func (q *recvQueue) extend(n int) {
	from := q.fill
	q.fill += n
	if last := len(q.spans) - 1; last >= q.first && q.spans[last].chunk == q.tail && q.spans[last].to == from {
		q.spans[last].to = q.fill
		return
	}
	q.push(span{q.tail, from, q.fill})
}

// end handles a FIN.
func (q *recvQueue) end(offset uint64) error {
	switch {
	case offset > q.received:
		return violation("FIN at %d, expected %d", offset, q.received)
	case q.fin && offset == q.received-1:
		return nil // a repetition
	case q.fin || offset < q.received:
		return violation("FIN at %d, have %d", offset, q.received)
	}
	q.fin = true
	q.received++
	if q.discard {
		q.consumed = q.received
	}
	return nil
}

// buffered returns the number of the user's unread bytes.
func (q *recvQueue) buffered() int {
	n := q.received - q.consumed
	if q.fin && n > 0 {
		n--
	}
	return int(n)
}

// drained reports whether all bytes were read, and more may come.
func (q *recvQueue) drained() bool { return !q.fin && q.received == q.consumed }

// taken returns the number of bytes that the user has read.
func (q *recvQueue) taken() uint64 {
	if q.fin && q.consumed == q.received {
		return q.consumed - 1
	}
	return q.consumed
}

// read copies bytes to the user.
func (q *recvQueue) read(p []byte) int {
	n := 0
	for n < len(p) && q.first < len(q.spans) {
		s := q.spans[q.first]
		k := copy(p[n:], s.buf[s.from:s.to])
		q.advance(k)
		n += k
	}
	return n
}

// peek appends the available bytes to bufs, as far as there is room, and their memory to held. Each
// entry of held is a reference that must be dropped.
func (q *recvQueue) peek(bufs net.Buffers, held []*chunk) net.Buffers {
	for i := q.first; i < len(q.spans) && len(bufs) < cap(bufs); i++ {
		s := q.spans[i]
		s.refs++
		held = append(held, s.chunk)
		bufs = append(bufs, s.buf[s.from:s.to])
	}
	return bufs
}

// advance marks the next n bytes consumed.
func (q *recvQueue) advance(n int) {
	q.consumed += uint64(n)
	for n > 0 {
		s := &q.spans[q.first]
		k := min(n, s.to-s.from)
		s.from += k
		n -= k
		if s.from == s.to {
			q.pop()
		}
	}
}

// pop drops the first span, which has been read.
func (q *recvQueue) pop() {
	c := q.spans[q.first].chunk
	q.spans[q.first] = span{}
	q.first++
	if q.first == len(q.spans) {
		q.spans, q.first = q.spans[:0], 0
		if cap(q.spans) > 64 {
			q.spans = nil
		}
	}
	c.spans--
	if c.spans == 0 {
		q.live -= len(c.buf)
	}
	c.drop()
	if q.first == len(q.spans) {
		q.dropTail()
	}
}

// atEnd reports whether all bytes were read, and then marks the FIN as consumed.
func (q *recvQueue) atEnd() bool {
	if !q.fin || q.buffered() > 0 {
		return false
	}
	q.consumed = q.received
	return true
}

// ackable returns the offset that an ACK can acknowledge now. After the FIN it is the end, because
// no more data will need room.
func (q *recvQueue) ackable() uint64 {
	if q.fin {
		return q.received
	}
	return q.consumed
}

// unsaid returns the number of bytes that an ACK could acknowledge now.
func (q *recvQueue) unsaid() uint64 { return q.ackable() - q.acked }

// much reports whether the unsent acknowledgement is large. Every ACK wakes each relay on the
// route, so there are only as many as keep the sender going.
func (q *recvQueue) much() bool { return q.unsaid() >= uint64(min(ackBytes, q.window/2)) }

// ack returns the numbers of an ACK that is sent now.
func (q *recvQueue) ack(now time.Time, rtt time.Duration) (consumed, limit uint64) {
	q.widen(now, rtt)
	q.giving = false
	q.acked = q.ackable()
	q.limit = max(q.limit, q.consumed+uint64(q.window))
	q.accept = max(q.accept, q.limit)
	return q.acked, q.limit
}

// widen doubles a window that is too small for the path: one that was used up within two round
// trips. A slow user takes longer, and so does a peer that has no more to send.
func (q *recvQueue) widen(now time.Time, rtt time.Duration) {
	used := float64(q.consumed-q.mark) / float64(q.window)
	if used < 0.5 || q.discard {
		return
	}
	took := now.Sub(q.marked)
	q.mark, q.marked = q.consumed, now
	if rtt = max(rtt, shortPath); took.Seconds() < 2*used*rtt.Seconds() && q.window*2 <= maxWindow && q.budget.take(q.window) {
		q.window *= 2
	}
}

// wide reports whether the window is wider than its minimum and empty, so that it can shrink.
func (q *recvQueue) wide() bool { return q.window > smallWindow && q.received == q.consumed }

// narrow begins to shrink a wide window. It returns the numbers of the ACK to send, which a PING
// follows.
func (q *recvQueue) narrow() (consumed, limit uint64) {
	q.giving = true
	q.acked = q.consumed
	q.limit = q.consumed + smallWindow
	return q.acked, q.limit
}

// narrowed is called when the PONG to that PING has come. If data came before it, the window stays
// unchanged.
func (q *recvQueue) narrowed() {
	if !q.giving {
		return
	}
	q.giving = false
	q.accept = q.limit
	q.giveBack()
}

func (q *recvQueue) giveBack() {
	q.budget.give(q.window - smallWindow)
	q.window = smallWindow
}

// onNewPath returns the numbers for a hello. Nothing is under way on a new path, so the limit is
// computed again.
func (q *recvQueue) onNewPath() (received, limit uint64) {
	q.giving = false
	q.limit = q.consumed + uint64(q.window)
	q.accept = max(q.accept, q.limit)
	return q.received, q.limit
}

// abandon releases all chunks. The user reads no more.
func (q *recvQueue) abandon() {
	for q.first < len(q.spans) {
		q.pop()
	}
	q.dropTail()
	q.consumed = q.received
	q.discard = true
}

// release releases all chunks and their budget.
func (q *recvQueue) release() {
	q.abandon()
	q.giveBack()
}
