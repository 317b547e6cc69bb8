//go:build linux

package holder

import (
	"errors"
	"io"
	"math"
	"sync"
	"time"

	"keyway/internal/session/joblog"
	"keyway/internal/session/wire"
)

// Sizes of the part of the output that is kept in memory. The small one is enough while the log can
// be written, because viewers that are further behind read the log. Without a log, they have only
// the large one.
const (
	ringStart = 16 << 10
	ringLog   = 256 << 10
	ringNoLog = 1 << 20
	ringMarks = 4096 // changes between stdout and stderr that are kept in memory
)

// output is the output of a job. The goroutines that drain it append to it, and any number of
// viewers read it, each at its own offset. Appending never waits for a reader; draining does, see
// room.
type output struct {
	mu    sync.Mutex // guards all fields below
	log   *joblog.Writer
	ring  ring
	watch map[*watcher]bool // true: wakes for output, not only for its end
	sizes []sizeMark        // ascending
	ended bool
	final uint64 // the end of the output when the job ended
	now   func() time.Time
	// follower is the offset that the display has read to, if there is one. waiters are the other
	// readers that the job waits for, until it is released. caught signals their progress.
	follower uint64
	waiters  map[*waiter]bool
	free     bool
	caught   sync.Cond
}

func newOutput(log *joblog.Writer) *output {
	t := &output{log: log, watch: map[*watcher]bool{}, waiters: map[*waiter]bool{}, now: time.Now, follower: noFollower}
	t.caught.L = &t.mu
	return t
}

const noFollower = math.MaxUint64

// ringLimit is the number of bytes that waiting readers may be behind while the log cannot be
// written: at least half of the output in memory.
const ringLimit = ringLog / 2

// append takes output of the job.
func (o *output) append(s wire.Stream, p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log.Append(s, p, o.now())
	limit := ringLog
	if o.inMemoryLocked() {
		limit = ringNoLog
	}
	o.ring.append(s, p, limit)
	o.nudgeLocked()
}

// nudge wakes all watchers.
func (o *output) nudge() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.nudgeLocked()
}

func (o *output) nudgeLocked() {
	for w, wantsOutput := range o.watch {
		if wantsOutput {
			w.notify()
		}
	}
}

// urgent reports whether the display must continue before the job has to wait for it, or need not
// follow any more.
func (o *output) urgent() (end uint64, urgent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ring.end, o.ended || o.log.Failing() || o.ring.end-min(o.ring.end, o.follower) > o.maxLag()/2
}

// followed notes the offset that the display has read to.
func (o *output) followed(at uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.follower = at
	}
	o.caught.Broadcast()
}

// finish marks the output as complete and puts the log on disk.
func (o *output) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log.Sync()
}

// moved notes the new path of the log's directory.
func (o *output) moved(dir string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log.Moved(dir)
}

// end releases viewers that have read everything. It comes after the exit record is on disk.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended, o.final = true, o.ring.end
	o.follower = noFollower // it follows only on demand
	o.caught.Broadcast()
	for w := range o.watch {
		w.notify()
	}
}

// watcher is a reader of an output that is notified of changes.
type watcher struct {
	output *output
	wake   chan struct{} // receives a value after every change
}

// newWatcher makes a watcher of the output, or only of its end: a viewer that waits for the end of
// a noisy job should cost the job nothing.
func (o *output) newWatcher(wantsOutput bool) *watcher {
	w := &watcher{output: o, wake: make(chan struct{}, 1)}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watch[w] = wantsOutput
	return w
}

func (w *watcher) notify() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) stop() {
	w.output.mu.Lock()
	defer w.output.mu.Unlock()
	delete(w.output.watch, w)
}

// state returns the offset after the last byte, and whether the job has ended. After the end, the
// offset does not count bytes of processes that the job has left behind.
func (o *output) state() (end uint64, ended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return o.final, true
	}
	return o.ring.end, o.ended
}

// loss returns the number of bytes that found no space, and the reason.
func (o *output) loss() (bytes uint64, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	log := o.log.State()
	return log.Lost, log.Why
}

// read is like logReader.read, but its only error is io.EOF, which means that there is no more yet.
// Bytes that the log cannot return count as lost, as if they had not been written.
func (o *output) read(p []byte, offset uint64) (n uint64, s wire.Stream, err error) {
	o.mu.Lock()
	if offset >= o.ring.end {
		o.mu.Unlock()
		return 0, wire.Stdout, io.EOF
	}
	if offset >= o.ring.start {
		n, s := o.ring.read(p, offset)
		o.mu.Unlock()
		return uint64(n), s, nil
	}
	log, memory := o.log.Reader(), o.ring.start
	o.mu.Unlock()
	// Not under the lock: the log may be on a slow disk.
	log = log.UpTo(memory)
	if n, s, err = log.Read(p, offset); err != nil && !errors.Is(err, io.EOF) {
		return o.unreadable(offset), wire.Lost, nil
	}
	return n, s, err
}

// Bounds, in bytes, on output that viewers read from the log instead of the socket. Less is not
// worth it. With more, the job would have to wait for bytes that the viewer has passed on already.
const (
	leastLogged = 64 << 10
	mostLogged  = 4 << 20
)

// logged returns output from an offset on that a viewer can read from the log.
func (o *output) logged(offset uint64) (m wire.Logged, ok bool) {
	o.mu.Lock()
	ok = o.ring.end >= offset+leastLogged && !o.log.Lacks(offset)
	var log joblog.Reader
	if ok {
		log = o.log.Reader()
	}
	o.mu.Unlock()
	if !ok {
		return wire.Logged{}, false
	}
	segment, s, stop := log.Stretch(offset)
	n := min(stop-offset, mostLogged)
	return wire.Logged{Stream: s, Offset: offset, Segment: segment, Count: uint32(n)}, s != wire.Lost && n >= leastLogged
}

// tail returns the start of a line at most back bytes before the end.
func (o *output) tail(back uint64) uint64 {
	o.mu.Lock()
	log := o.log.Reader()
	o.mu.Unlock()
	return log.LineStart(back)
}

// unreadable returns the number of lost bytes from offset on if the log cannot be read there: those
// of a segment that was removed meanwhile, otherwise all that are no longer in memory.
func (o *output) unreadable(offset uint64) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := o.ring.start
	if base := o.log.Base(); offset < base {
		next = min(next, base)
	}
	return max(next, offset+1) - offset
}

// ring holds the last bytes of the output, with their streams.
type ring struct {
	buf        []byte
	start, end uint64 // offsets of its bytes
	marks      []mark // ascending; the first is at or before start
}

// mark is the stream of the bytes from offset on.
type mark struct {
	offset uint64
	stream wire.Stream
}

func (r *ring) append(s wire.Stream, p []byte, limit int) {
	if n := len(r.marks); n == 0 || r.marks[n-1].stream != s {
		r.marks = append(r.marks, mark{r.end, s})
	}
	r.grow(len(p), limit)
	if skip := len(p) - len(r.buf); skip > 0 {
		p = p[skip:]
		r.end += uint64(skip)
	}
	for len(p) > 0 {
		n := copy(r.buf[r.end%uint64(len(r.buf)):], p)
		r.end += uint64(n)
		p = p[n:]
	}
	r.start = max(r.start, r.end-min(r.end, uint64(len(r.buf))))
	r.dropMarks()
}

// grow makes room for n more bytes, within limit.
func (r *ring) grow(n, limit int) {
	want := max(len(r.buf), ringStart)
	for want < limit && uint64(want) < r.end-r.start+uint64(n) {
		want *= 2
	}
	if want == len(r.buf) {
		return
	}
	bigger := make([]byte, want)
	for at := r.start; at < r.end; {
		piece := r.piece(at, r.end)
		for len(piece) > 0 {
			n := copy(bigger[at%uint64(want):], piece)
			at += uint64(n)
			piece = piece[n:]
		}
	}
	r.buf = bigger
}

// piece returns the contiguous bytes in buf from offset on, up to stop.
func (r *ring) piece(offset, stop uint64) []byte {
	at := offset % uint64(len(r.buf))
	return r.buf[at:min(uint64(len(r.buf)), at+stop-offset)]
}

func (r *ring) dropMarks() {
	if over := len(r.marks) - ringMarks; over > 0 {
		r.start = max(r.start, r.marks[over].offset)
	}
	drop := 0
	for drop+1 < len(r.marks) && r.marks[drop+1].offset <= r.start {
		drop++
	}
	// Dropping a quarter at a time spreads the cost of moving the rest.
	if drop > ringMarks/4 {
		r.marks = append(r.marks[:0], r.marks[drop:]...)
	}
}

// read fills p with bytes of one stream from offset, which the ring holds.
func (r *ring) read(p []byte, offset uint64) (int, wire.Stream) {
	lo, hi := 0, len(r.marks) // marks[lo].offset <= offset
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; r.marks[mid].offset <= offset {
			lo = mid
		} else {
			hi = mid
		}
	}
	stop := r.end
	if hi < len(r.marks) {
		stop = r.marks[hi].offset
	}
	stop = min(stop, offset+uint64(len(p)))
	n := 0
	for at := offset; at < stop; {
		c := copy(p[n:], r.piece(at, stop))
		at += uint64(c)
		n += c
	}
	return n, r.marks[lo].stream
}
