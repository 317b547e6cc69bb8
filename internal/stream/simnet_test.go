package stream

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// dial begins a new connection of the client's. An earlier attempt is given up.
func (s *simulation) dial() {
	e := s.client
	if e.w.err != nil || len(s.routes) > 5 {
		return
	}
	for _, r := range s.routes {
		if r != e.route {
			r.closed[0] = true
		}
	}
	s.events++
	r := &simRoute{}
	s.routes = append(s.routes, r)
	if e.w.keys == nil {
		s.hangUp(e, e.route)
		s.server = nil
		r.opens = true
		e.route = r
		s.put(r, 1, (&openHello{}).encode())
		s.follow(e, func(time.Time) effects { return e.w.attach(0, smallWindow) })
		return
	}
	s.nonce++
	r.sent = e.w.hello([nonceLen]byte{s.nonce})
	s.put(r, 1, r.sent.encode())
}

// put sends a message to one end of r.
func (s *simulation) put(r *simRoute, to int, message []byte) {
	if !r.closed[1-to] {
		r.queue[to] = append(r.queue[to], message)
	}
}

// send sends the pending frames of e on its live path.
func (s *simulation) send(e *simEnd) {
	if !e.sends || e.route == nil {
		return
	}
	s.follow(e, func(now time.Time) effects {
		words, data, from, do := e.w.next(nil, now)
		for _, b := range [][]byte{words, data} {
			for len(b) > 0 {
				_, need, _ := parseFrame(b)
				s.put(e.route, 1-e.index(), bytes.Clone(b[:need]))
				b = b[need:]
			}
		}
		e.w.tx.release(from)
		e.sends = len(words)+len(data) > 0
		s.count(len(words) + len(data))
		return do
	})
	if e.w.err != nil && !e.w.client { // its last bytes
		s.hangUp(e, e.route)
	}
}

func (e *simEnd) index() int {
	if e.w.client {
		return 0
	}
	return 1
}

// hangUp closes e's end of r.
func (s *simulation) hangUp(e *simEnd, r *simRoute) {
	if r == nil {
		return
	}
	r.closed[e.index()] = true
	if e.route == r {
		e.writable = e.writable || e.up
		e.route, e.sends, e.up = nil, false, false
		e.w.detach()
	}
}

// network lets one message of one connection arrive.
func (s *simulation) network() error {
	if len(s.routes) == 0 {
		return nil
	}
	r := s.routes[s.pick(len(s.routes))]
	to := s.pick(2)
	if foul := s.mood.foul; foul > 0 && len(r.queue[to]) > 0 && s.pick(foul) == 0 {
		s.meddle(r, to)
	}
	return s.deliver(r, to)
}

// meddle applies a fault to the next message.
func (s *simulation) meddle(r *simRoute, to int) {
	q := r.queue[to]
	r.fouled = true
	switch s.pick(9) {
	case 0:
		s.did[simLost]++
		r.queue[to] = q[1:]
	case 1:
		s.did[simRepeated]++
		r.queue[to] = append([][]byte{q[0]}, q...)
	case 2:
		if len(q) > 1 {
			s.did[simSwapped]++
			q[0], q[1] = q[1], q[0]
		}
	case 3:
		if len(q[0]) > 0 { // it may have been shortened to nothing
			s.did[simChanged]++
			q[0] = bytes.Clone(q[0])
			q[0][s.pick(len(q[0]))] ^= 1 << s.pick(8)
		}
	case 4:
		s.did[simShortened]++
		q[0] = q[0][:s.pick(max(1, len(q[0])))]
	case 5:
		if s.old[to] != nil {
			s.did[simSaidAgain]++
			r.queue[to] = append([][]byte{s.old[to]}, q...)
		}
	case 6, 7, 8:
		s.old[to] = q[0]
	}
}

// deliver passes the next message, or the end of the connection, to one end of r.
func (s *simulation) deliver(r *simRoute, to int) error {
	switch {
	case r.frozen && !r.closed[to]:
		return nil
	case r.closed[to] || len(r.queue[to]) == 0:
		if r.closed[1-to] || r.closed[to] {
			s.lose(r, to)
		}
		return nil
	}
	if to == 0 && r.agreed != nil { // the client continues to read after its move
		return nil
	}
	s.events++
	message := r.queue[to][0]
	r.queue[to] = r.queue[to][1:]
	err := errViolation
	switch {
	case len(message) == 0:
	case to == 0:
		err = s.toClient(r, message)
	default:
		err = s.toServer(r, message)
	}
	var wrong *wrongEnd
	switch {
	case errors.As(err, &wrong):
		return wrong
	case errors.Is(err, errViolation) && !r.fouled:
		return fmt.Errorf("a path on which nothing was changed is given up: %w", err)
	}
	if err != nil {
		s.lose(r, to)
	}
	return nil
}

// lose ends the path at one end of r, after a close or a violation of the protocol.
func (s *simulation) lose(r *simRoute, at int) {
	e := s.client
	if at == 1 {
		e = s.serverOf(r)
	}
	r.closed[at] = true
	r.queue[at] = nil
	if e != nil {
		s.hangUp(e, r)
	}
	server := s.serverOf(r)
	if !r.closed[1-at] || s.client.route == r || server != nil && server.route == r {
		return
	}
	for i := range s.routes {
		if s.routes[i] == r {
			s.routes = append(s.routes[:i], s.routes[i+1:]...)
			return
		}
	}
}

// serverOf returns the server's end that r leads to; nil when there is none.
func (s *simulation) serverOf(r *simRoute) *simEnd {
	if r.opens {
		return r.server
	}
	return s.server
}

// wrongEnd is the error of a stream that ended without a reason.
type wrongEnd struct{ error }

func (s *simulation) toClient(r *simRoute, message []byte) error {
	e := s.client
	switch {
	case e.w.err != nil && e.route != r:
		return e.w.err
	case e.route == r && (!r.opens || s.bound):
		return s.frame(e, message)
	case e.route == r:
		if !bytes.Equal(message, []byte{simOpened}) {
			return errViolation
		}
		s.bind(r.server)
		s.follow(e, func(now time.Time) effects { return e.w.opened(r.server.w.keys, now) })
		return nil
	case r.opens:
		return errReplaced
	case message[0] == simRefused && r.sent != nil:
		if len(message) < 2 || !bytes.Equal(message, refusal(Code(message[1]), r.sent)) {
			return errViolation
		}
		s.follow(e, func(time.Time) effects { return e.w.refused(&Refusal{Code: Code(message[1])}) })
		if e.w.err != errFinished && !(s.server.aborted && errors.Is(e.w.err, ErrReset)) {
			return &wrongEnd{fmt.Errorf("the client ends by %w", e.w.err)}
		}
		return errFinished
	case r.sent == nil: // it is committed already, and replaced
		return errReplaced
	}
	return s.commit(r, message)
}

// bind is called when the client has the answer to its open. The other streams that it has opened
// stay unused.
func (s *simulation) bind(server *simEnd) {
	s.bound, s.server = true, server
	for _, e := range s.opened {
		if e != server {
			e.w.close(s.now)
			e.w.end(ErrExpired)
			s.hangUp(e, e.route)
		}
	}
}

// commit moves the client to the new path, after an answer.
func (s *simulation) commit(r *simRoute, message []byte) error {
	answer, err := readResumed(bytes.NewReader(message[1:]))
	if err != nil || message[0] != kindResumed {
		return errViolation
	}
	e := s.client
	m, err := e.w.commit(r.sent, answer)
	if errors.Is(err, ErrOffset) {
		return &wrongEnd{err}
	}
	if err != nil {
		return err
	}
	s.put(r, 1, m.encode())
	r.sent, r.agreed = nil, answer
	if s.calm {
		s.agree()
	}
	return nil
}

// agree moves the client to a path on which it has sent a commit, often a little later.
func (s *simulation) agree() {
	for _, r := range s.routes {
		if r.agreed == nil || !s.calm && s.pick(4) > 0 {
			continue
		}
		answer := r.agreed
		if r.agreed = nil; r.closed[0] || s.client.w.err != nil {
			r.closed[0] = true
			continue
		}
		s.did[simResumed]++
		e, old := s.client, s.client.route
		e.route = r
		s.follow(e, func(now time.Time) effects { return e.w.committed(answer, now) })
		if old != nil {
			old.closed[0] = true
		}
	}
}

func (s *simulation) toServer(r *simRoute, message []byte) error {
	e := s.serverOf(r)
	switch {
	case e != nil && e.route == r:
		return s.frame(e, message)
	case r.opens && e == nil:
		return s.open(r, message)
	case r.opens || e == nil:
		return errReplaced
	case r.hello == nil:
		return s.resume(r, e, message)
	}
	m, err := readCommit(bytes.NewReader(message))
	if err != nil || r.answer == nil {
		return errViolation
	}
	old := e.route
	s.follow(e, func(now time.Time) (do effects) {
		do, err = e.w.move(r.hello, r.answer, m, r.early, now)
		return do
	})
	if err != nil {
		return err
	}
	if e.route = r; old != nil {
		old.closed[1] = true
	}
	return nil
}

// open makes a new stream of the server's.
func (s *simulation) open(r *simRoute, message []byte) error {
	if open, _, err := readHello(bytes.NewReader(message)); err != nil || open == nil {
		return errViolation
	}
	s.nonce++
	r.server = s.newEnd("server", &keys{id: [idLen]byte{s.nonce}, client: [keyLen]byte{s.nonce, 1}, server: [keyLen]byte{s.nonce, 2}})
	r.server.route = r
	s.follow(r.server, func(now time.Time) effects { return r.server.w.open(now) })
	s.put(r, 0, []byte{simOpened})
	s.opened = append(s.opened, r.server)
	if s.bound {
		s.bind(s.server)
	} else if s.client.route == r {
		s.server = r.server
	}
	return nil
}

// resume answers a hello.
func (s *simulation) resume(r *simRoute, e *simEnd, message []byte) error {
	_, hello, err := readHello(bytes.NewReader(message))
	if err != nil || hello == nil {
		return errViolation
	}
	code, _ := e.w.judge(hello)
	if code != CodeProof && e.w.err != nil {
		code, _ = reason(e.w.err)
	}
	r.hello = hello
	if code != 0 {
		s.put(r, 0, refusal(code, hello))
		return errFinished
	}
	s.nonce++
	r.answer, r.early = e.w.answer(hello, [nonceLen]byte{s.nonce, 1})
	s.put(r, 0, r.answer.encode())
	for b := r.early.frames; len(b) > 0; {
		_, need, err := parseFrame(b)
		if err != nil {
			return &wrongEnd{err}
		}
		s.put(r, 0, bytes.Clone(b[:need]))
		b = b[need:]
	}
	return nil
}

// refusal stands for a signed refusal: it matches only the hello that it answers.
func refusal(code Code, hello *resumeHello) []byte {
	head := []byte{simRefused, byte(code)}
	return append(head, digest(head, hello.encode())...)
}

// frame passes one frame to an end.
func (s *simulation) frame(e *simEnd, message []byte) error {
	in := newChunk(len(message) > smallChunk)
	defer in.drop()
	f, _, err := parseFrame(in.buf[:copy(in.buf, message)])
	if err != nil || f.typ == 0 {
		return errViolation
	}
	s.follow(e, func(now time.Time) (do effects) {
		do, err = e.w.frame(f, in, now)
		return do
	})
	return err
}
