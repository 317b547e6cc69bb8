package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// A simulation drives the two ends of one stream by an invented clock, over a
// network that loses, repeats, swaps, changes, cuts off and holds back what it
// carries, while the client moves from process to process. First there is chaos:
// a sequence of events that pick chooses. Then the network is a good one, and the
// stream must come to its end.
type simulation struct {
	pick   func(n int) int // a number below n; the same ones repeat a simulation
	now    time.Time
	budget *Budget
	client *simEnd
	server *simEnd // of the stream that the client uses, otherwise of the one opened last
	bound  bool    // the client uses it
	opened []*simEnd
	routes []*simRoute
	nonce  byte
	events int // that had an effect
	mood   mood
	calm   bool      // chaos is over
	inTurn bool      // the server then writes until it has read all
	old    [2][]byte // a message to each end, to be repeated
	did    mischiefCount
}

// mood chooses the events that are frequent for a while.
type mood struct {
	much bool // users write much
	lazy int  // bits of the ends that hardly read: 1 the client, 2 the server
	foul int  // one message of that many suffers a fault; 0: none
}

func (s *simulation) newMood() {
	s.mood = mood{much: s.pick(3) == 0, lazy: s.pick(4), foul: []int{0, 16, 64, 256}[s.pick(4)]}
}

// simEnd is one end, with its user's state.
type simEnd struct {
	w        wire
	name     string
	route    *simRoute // the live path
	due      time.Time // when its alarm rings
	wrote    int
	read     int
	finished bool // it has stopped writing
	eof      bool // it has read all
	aborted  bool
	// Requests of effects that are not yet carried out.
	readable, writable, sends, mute bool
	up                              bool // the user's information about the path
}

// simRoute is one connection. Its ends are 0, the client, and 1, the server.
type simRoute struct {
	queue  [2][][]byte // the messages under way to each end
	closed [2]bool     // by each end
	server *simEnd     // the stream that an open has made
	opens  bool        // the handshake is an open
	fouled bool        // a fault has happened on it
	frozen bool        // nothing more arrives
	sent   *resumeHello
	hello  *resumeHello // as received
	answer *resumed
	agreed *resumed // the answer after which the client has sent a commit and not yet moved
	early  early
}

// mischiefCount counts the faults of the network, and the moves and returns of the client.
type mischiefCount [simMischiefs]int

const (
	simLost = iota
	simRepeated
	simSwapped
	simChanged
	simShortened
	simSaidAgain
	simCut
	simMoved
	simResumed
	simMischiefs
)

const (
	simOpened  = 250 + iota // the answer to an open
	simRefused              // a refusal, and its code
)

// simText is the text that users write. Its bytes differ at all offsets that could be confused.
var simText = func() []byte {
	b := make([]byte, simPeriod+256<<10)
	x := uint32(1)
	for i := range simPeriod {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	for i := simPeriod; i < len(b); i++ {
		b[i] = b[i-simPeriod]
	}
	return b
}()

const simPeriod = 65521

func simBytes(at, n int) []byte { return simText[at%simPeriod:][:n] }

func newSimulation(pick func(int) int) *simulation {
	s := &simulation{pick: pick, now: time.Unix(1, 0), budget: NewBudget(pick(4) * 300 << 10)}
	s.client = s.newEnd("client", nil)
	s.newMood()
	return s
}

func (s *simulation) newEnd(name string, k *keys) *simEnd {
	e := &simEnd{w: newWire(s.budget, name == "client"), name: name, readable: true, writable: true}
	e.w.keys = k
	return e
}

// run runs events while more reports true, then the end on a good network. It returns an error for
// a violation of the specification.
func (s *simulation) run(more func() bool) error {
	for more() && !s.over() {
		if err := s.event(s.pick(32)); err != nil {
			return fmt.Errorf("event %d: %w", s.events, err)
		}
	}
	if err := s.end(); err != nil {
		return fmt.Errorf("in the end: %w", err)
	}
	return nil
}

// event is one event of chaos.
func (s *simulation) event(what int) error {
	s.agree()
	e := s.client
	if s.server != nil && s.pick(2) == 0 {
		e = s.server
	}
	switch what {
	case 0, 1, 2, 3:
		s.write(e, s.size())
	case 4, 5, 6, 7, 8:
		if s.mood.lazy&(1+e.index()) > 0 && s.pick(16) > 0 {
			return nil
		}
		if err := s.read(e, s.size()*2); err != nil {
			return err
		}
	case 9, 10, 11, 12, 13, 14:
		s.send(e)
	case 15, 16, 17, 18, 19, 20, 21, 22, 23, 24:
		if err := s.network(); err != nil {
			return err
		}
	case 25, 26, 27:
		if err := s.pass(time.Duration(s.pick(40)) * time.Millisecond); err != nil {
			return err
		}
	case 28:
		s.follow(e, e.w.probe)
	default:
		if err := s.rare(e, s.pick(64)); err != nil {
			return err
		}
	}
	return s.check()
}

// rare is an event that happens rarely.
func (s *simulation) rare(e *simEnd, what int) error {
	switch {
	case what < 8 || s.client.route == nil && what < 32:
		s.dial()
	case what < 11:
		return s.pass(time.Duration(s.pick(20000)) * time.Millisecond)
	case what < 14:
		return s.move()
	case what == 15 && s.pick(8) == 0:
		s.finish(e)
	case what == 18:
		s.newMood()
	case what == 19:
		return s.idle(s.pick(40))
	case what == 20:
		return s.upgrade()
	case what == 16 && s.pick(4) == 0:
		e.finished, e.eof = true, true
		s.follow(e, e.w.close)
	case what == 17 && s.pick(64) == 0:
		e.aborted, e.finished, e.eof = true, true, true
		s.follow(e, func(time.Time) effects { return e.w.abort(errors.New("by its user"), resetByUser) })
	case what < 28 && len(s.routes) > 0:
		r := s.routes[s.pick(len(s.routes))]
		s.events++
		s.did[simCut]++
		r.closed[s.pick(2)] = true
		if s.pick(2) == 0 { // and all messages under way are lost
			r.queue = [2][][]byte{}
		}
	}
	return nil
}

// size returns the number of bytes that a user writes or reads at once.
func (s *simulation) size() int {
	if s.pick(40) == 0 || s.mood.much && s.pick(4) == 0 {
		return 1 + s.pick(100<<10)
	}
	return 1 + s.pick(2000)
}

// follow makes one step of e, and carries out its effects as a Conn does.
func (s *simulation) follow(e *simEnd, step func(now time.Time) effects) {
	do := step(s.now)
	e.readable = e.readable || do.has(canRead|ended)
	e.writable = e.writable || do.has(canWrite|pathMute|ended) || do.has(pathUp) && !e.up
	e.sends = e.sends || do.has(canSend|ended)
	e.mute = (e.mute || do.has(pathMute)) && !do.has(pathUp)
	e.up = (e.up || do.has(pathUp)) && !do.has(pathMute)
	if do.has(pathLost) && !do.has(ended) {
		s.hangUp(e, e.route)
	}
	if at := e.w.deadline(); !at.IsZero() && (e.due.IsZero() || at.Before(e.due)) {
		e.due = at
	}
}

// count counts an event that had an effect: n bytes, messages or alarms.
func (s *simulation) count(n int) {
	if n > 0 {
		s.events++
	}
}

func (s *simulation) write(e *simEnd, n int) {
	if e.finished || !e.writable {
		return
	}
	s.follow(e, func(now time.Time) effects {
		k, do, err := e.w.write(simBytes(e.wrote, n), now)
		e.wrote += k
		e.writable = k > 0
		s.count(k)
		if err != nil { // the other end accepts no more, or the stream is over
			e.finished = true
		}
		return do
	})
}

// read reads in one of the two ways, and compares.
func (s *simulation) read(e *simEnd, n int) (err error) {
	if e.eof || !e.readable {
		return nil
	}
	s.follow(e, func(now time.Time) (do effects) {
		if s.pick(2) == 0 {
			var b [4096]byte
			n, do, err = e.w.read(b[:min(n, len(b))], now)
			if n > 0 && !bytes.Equal(b[:n], simBytes(e.read, n)) {
				err = errors.New("Read gives other bytes than were written")
			}
			e.read += n
			e.readable = n > 0
			s.count(n)
			return do
		}
		n, do, err = s.readAll(e, now)
		e.readable = n > 0
		s.count(n)
		return do
	})
	return s.readErr(e, err)
}

// readAll reads as WriteTo does. The user's writer may accept only a part.
func (s *simulation) readAll(e *simEnd, now time.Time) (int, effects, error) {
	var held [gather]*chunk
	bufs, do, err := e.w.peek(make(net.Buffers, 0, gather), held[:0], now)
	n := 0
	for _, b := range bufs {
		if len(b) > 0 && !bytes.Equal(b, simBytes(e.read+n, len(b))) {
			err = errors.New("WriteTo gives other bytes than were written")
		}
		n += len(b)
	}
	if n > 0 && !s.calm && s.pick(4) == 3 {
		n -= s.pick(n)
	}
	if len(bufs) > 0 {
		do |= e.w.took(n, held[:len(bufs)], now)
	}
	e.read += n
	return n, do, err
}

func (s *simulation) readErr(e *simEnd, err error) error {
	other := s.other(e)
	switch {
	case err == io.EOF && other.finished && e.read == other.wrote:
		e.eof = true
	case err == io.EOF:
		return fmt.Errorf("the %s reads EOF after %d bytes of %d", e.name, e.read, other.wrote)
	case errors.Is(err, ErrReset) && other.aborted:
		e.eof, e.finished = true, true
	case err != nil:
		return fmt.Errorf("the %s reads: %w", e.name, err)
	}
	return nil
}

func (s *simulation) other(e *simEnd) *simEnd {
	if e == s.client {
		return s.server
	}
	return s.client
}

func (s *simulation) finish(e *simEnd) {
	if !e.finished && e.w.err == nil {
		e.finished = true
		s.follow(e, e.w.finish)
	}
}

// pass advances the clock, and fires due alarms.
func (s *simulation) pass(d time.Duration) error {
	until := s.now.Add(d)
	for {
		next := s.client
		if s.server != nil && sooner(next.due, s.server.due) == s.server.due {
			next = s.server
		}
		if next.due.IsZero() || next.due.After(until) {
			s.now = until
			return nil
		}
		s.events++
		s.now, next.due = next.due, time.Time{}
		s.follow(next, next.w.tick)
		if at := next.w.deadline(); !at.IsZero() && !at.After(s.now) {
			return fmt.Errorf("the %s wants to be called again at once", next.name)
		}
	}
}

// move hands the client's end over to another process.
func (s *simulation) move() error {
	e := s.client
	if e.w.keys == nil || e.w.err != nil || e.w.closed {
		return nil
	}
	s.events++
	s.did[simMoved]++
	moved, _ := e.w.save()
	moved, err := decodeSaved(moved.encode())
	if err != nil {
		return err
	}
	for _, r := range s.routes {
		r.closed[0] = true
	}
	e.w = newWire(s.budget, true)
	e.w.restore(moved, s.now)
	e.route, e.due = nil, time.Time{}
	e.readable, e.writable, e.sends, e.mute, e.up = true, true, false, false, false
	return nil
}
