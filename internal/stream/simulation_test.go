package stream

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	simSeed   = flag.Uint64("seed", 1, "seed of the first simulation; each has the next one")
	simEvents = flag.Int64("events", 400_000, "how many events to simulate, at least")
)

// TestSimulation checks the protocol by its model; see "make simulate".
func TestSimulation(t *testing.T) {
	var events, done atomic.Int64
	var failed atomic.Bool
	var workers sync.WaitGroup
	var mu sync.Mutex
	var did mischiefCount
	begin := time.Now()
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for events.Load() < *simEvents && !failed.Load() {
				seed := *simSeed + uint64(done.Add(1)) - 1
				s, err := simulate(seed)
				events.Add(int64(s.events))
				if err != nil {
					failed.Store(true)
					t.Errorf("%v\nmake simulate SEED=%d EVENTS=1", err, seed)
				}
				mu.Lock()
				did.add(s.did)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	t.Logf("%d events in %d simulations from seed %d on, in %v: %+v", events.Load(), done.Load(), *simSeed,
		time.Since(begin).Round(time.Second), did)
	if *simEvents > 100_000 && did.least() < 100 {
		t.Errorf("something hardly ever happened: %+v", did)
	}
}

// simulate runs the life of one stream.
func simulate(seed uint64) (*simulation, error) {
	r := rand.New(rand.NewPCG(seed, 0))
	s := newSimulation(r.IntN)
	chaos := 100 + r.IntN(6000)
	return s, s.run(func() bool { chaos--; return chaos >= 0 })
}

func (d *mischiefCount) add(e mischiefCount) {
	for i := range d {
		d[i] += e[i]
	}
}

func (d *mischiefCount) least() int {
	least := d[0]
	for _, n := range d {
		least = min(least, n)
	}
	return least
}

// FuzzSimulation checks the protocol by its model, with events that the fuzzer chooses.
func FuzzSimulation(f *testing.F) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := make([]byte, 200<<seed)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		pick := func(n int) int {
			v := 0
			for m := n; m > 1 && len(b) > 0; m >>= 8 {
				v, b = v<<8|int(b[0]), b[1:]
			}
			return v % n
		}
		if err := newSimulation(pick).run(func() bool { return len(b) > 0 }); err != nil {
			t.Fatal(err)
		}
	})
}

// check is the specification, at any time.
func (s *simulation) check() error {
	for _, e := range []*simEnd{s.client, s.server} {
		if e == nil || s.server == nil {
			continue
		}
		other := s.other(e)
		switch {
		case e.read > other.wrote: // the bytes that Read returned are a prefix of those that Write accepted: see read
			return fmt.Errorf("the %s has read %d bytes of %d", e.name, e.read, other.wrote)
		case e.w.tx.written() > uint64(e.wrote) && !e.w.tx.gone:
			return fmt.Errorf("the %s has %d bytes of its user's %d", e.name, e.w.tx.written(), e.wrote)
		case e.w.err == nil && !e.w.tx.gone && e.w.tx.base > other.w.rx.ackable():
			return fmt.Errorf("the %s counts %d bytes as taken, of %d that are", e.name, e.w.tx.base, other.w.rx.ackable())
		case e.w.tx.held > maxRing || e.w.rx.live > 9*maxWindow/4+2*largeChunk:
			return fmt.Errorf("the %s holds %d bytes to send and %d to be read", e.name, e.w.tx.held, e.w.rx.live)
		case e.w.live.ready && e.w.err == nil && e.w.deadline().IsZero():
			return fmt.Errorf("the %s would never notice that its path is silent", e.name)
		case !s.mayEnd(e, other):
			return fmt.Errorf("the %s ends by %w, when %d bytes of its %d were taken", e.name, e.w.err, other.read, e.wrote)
		}
	}
	return nil
}

// mayEnd reports whether e has not ended, or has a reason: both directions have come
// to their ends, or a user has given up.
func (s *simulation) mayEnd(e, other *simEnd) bool {
	switch {
	case e.w.err == nil || e.aborted:
		return true
	case errors.Is(e.w.err, ErrReset):
		return other.aborted
	case e.w.err != errFinished:
		return false
	}
	arrived := other.w.rx.fin && other.w.rx.received == uint64(e.wrote)+1
	return (arrived || other.w.closed) && (e.w.rx.fin || e.w.closed)
}

// end is the state that a good network leads to: all bytes have arrived, and nothing is pending.
func (s *simulation) end() error {
	s.calm = true
	s.agree()
	s.inTurn = s.pick(2) == 0
	silent := s.client.route // it exists, and carries no more bytes
	if s.pick(2) == 0 || !s.bound {
		silent = nil
	}
	for _, r := range append([]*simRoute(nil), s.routes...) {
		if r.frozen = r == silent; !r.frozen {
			s.cut(r)
		}
	}
	late := s.now.Add(10 * time.Minute)
	for !s.over() {
		moved, err := s.calmly()
		if err == nil && !moved && !s.over() {
			err = s.wait()
		}
		if err == nil {
			err = s.check()
		}
		if err == nil && s.now.After(late) {
			err = errors.New("10 minutes pass")
		}
		if err != nil {
			return fmt.Errorf("%w; client %s; server %s", err, s.client.brief(), s.server.brief())
		}
	}
	// A stream that has not ended waits for an ACK that its peer did not send before it ended, or
	// its client never got the answer to its open.
	for _, e := range append(s.opened, s.client) {
		e.w.close(s.now)
		e.w.end(ErrExpired)
	}
	if n := s.budget.Used(); n != 0 {
		return fmt.Errorf("%d bytes of the budget are used in the end", n)
	}
	return nil
}

// cut ends a connection.
func (s *simulation) cut(r *simRoute) {
	r.closed, r.queue = [2]bool{true, true}, [2][][]byte{}
	s.lose(r, 0)
	s.lose(r, 1)
}

// over reports whether the stream has come to its end.
func (s *simulation) over() bool {
	if s.server == nil {
		return s.client.w.err != nil
	}
	return s.client.w.err != nil && (s.server.eof || s.client.aborted) && (s.client.eof || s.server.aborted)
}

// calmly runs the events that need no time, and reports whether there were any.
func (s *simulation) calmly() (moved bool, err error) {
	if c := s.client; c.w.err == nil && (c.route == nil || c.mute) && !s.dialling() {
		if err := s.pass(firstPause); err != nil { // as a client does between dials
			return true, err
		}
		s.dial()
		moved = true
	}
	for _, e := range []*simEnd{s.client, s.server} {
		if e != nil && e.writable && !e.finished && (e == s.client || e.eof || !s.inTurn) {
			s.write(e, 1+s.pick(2000))
			s.finish(e)
			moved = true
		}
	}
	flushed, err := s.flush(true)
	return moved || flushed, err
}

// flush delivers all messages under way, read or not, and reports whether there were any.
func (s *simulation) flush(read bool) (moved bool, err error) {
	before := s.events
	for _, e := range []*simEnd{s.client, s.server} {
		if e == nil {
			continue
		}
		for read && e.readable && !e.eof {
			if err := s.read(e, 64<<10); err != nil {
				return true, err
			}
		}
		for e.sends && e.route != nil {
			s.send(e)
		}
	}
	for _, r := range append([]*simRoute(nil), s.routes...) {
		for to := range 2 {
			for n := len(r.queue[to]); n > 0; n-- {
				if err := s.deliver(r, to); err != nil {
					return true, err
				}
			}
		}
		for to := range 2 { // an end notices that the other has gone when it has read all
			before := len(s.routes)
			if r.closed[to] || r.closed[1-to] && len(r.queue[to]) == 0 && !r.frozen {
				moved = moved || !r.closed[to]
				s.lose(r, to)
			}
			moved = moved || len(s.routes) < before
		}
	}
	return moved || s.events > before, nil
}

// still runs all events that need no time.
func (s *simulation) still(read bool) error {
	for moved := true; moved; {
		var err error
		if moved, err = s.flush(read); err != nil {
			return err
		}
	}
	return nil
}

// idle lets the given seconds pass on a good network while users write nothing: all bytes arrive
// and are acknowledged soon, and neither end doubts the path.
func (s *simulation) idle(seconds int) error {
	s.events++
	if err := s.still(true); err != nil {
		return err
	}
	begin, until := s.now, s.now.Add(time.Duration(seconds)*time.Second)
	for s.now.Before(until) {
		if err := s.wait(); err != nil {
			s.now = until // there is no path
		}
		if err := s.still(true); err != nil {
			return err
		}
		if c := s.client; s.server == nil || c.route == nil || c.route.fouled || c.route != s.server.route || c.w.err != nil || s.server.w.err != nil {
			return nil
		}
		if s.now.Sub(begin) < 2*serverAckDelay {
			continue
		}
		for _, e := range []*simEnd{s.client, s.server} {
			if e.mute || e.w.tx.unacked() > 0 {
				return fmt.Errorf("on a good path the %s waits (for an answer: %v): %s", e.name, e.mute, e.brief())
			}
		}
	}
	return nil
}

// upgrade moves the client when all bytes have arrived, read or not, as the upgrade of a link does.
// The client connects again at once.
func (s *simulation) upgrade() error {
	read := s.pick(2) == 0
	if err := s.still(read); err != nil {
		return err
	}
	if err := s.move(); err != nil {
		return err
	}
	s.dial()
	for range 3 {
		if err := s.still(read); err != nil {
			return err
		}
		s.agree()
	}
	return nil
}

// dialling reports whether the client's end of a connection is open that is not yet
// its path.
func (s *simulation) dialling() bool {
	for _, r := range s.routes {
		if r != s.client.route && !r.closed[0] {
			return true
		}
	}
	return false
}

// wait advances the clock to the next alarm.
func (s *simulation) wait() error {
	next := s.client.due
	if s.server != nil {
		next = sooner(next, s.server.due)
	}
	if next.IsZero() {
		return errors.New("nothing happens any more")
	}
	return s.pass(max(next.Sub(s.now), 0))
}

func (e *simEnd) brief() string {
	if e == nil {
		return "none"
	}
	return fmt.Sprintf("wrote %d, read %d, eof %v, acknowledged %d, sent %d, limit %d, received %d, path %v, ended by %v",
		e.wrote, e.read, e.eof, e.w.tx.base, e.w.tx.sent, e.w.live.limit, e.w.rx.received, e.route != nil, e.w.err)
}
