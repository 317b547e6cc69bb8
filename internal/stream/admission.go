package stream

import (
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
)

// admit makes room for c and queues it for Accept.
func (s *Server) admit(c *Conn) error {
	s.retire()
	for {
		victim, err := s.enter(c)
		if victim == nil {
			return err
		}
		victim.abort(errors.New("it was one of too many that nobody had logged in over"), resetByEnd)
	}
}

// enter lets c in, or returns the stream that must go first. That stream has no authenticated user,
// as c has none. A stream with one never gives way to c.
func (s *Server) enter(c *Conn) (victim *Conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	var strangers []*Conn
	for _, other := range s.live {
		if !other.isVouched() {
			strangers = append(strangers, other)
		}
	}
	if len(strangers) >= maxUnvouched {
		return strangers[mathrand.IntN(len(strangers))], nil
	}
	if in := len(s.live) - len(strangers); in >= s.cfg.MaxStreams && s.idle(nil) == nil {
		return nil, fmt.Errorf("%d streams are in use", in)
	}
	select {
	case s.queue <- c:
		s.live[c.wire.keys.id] = c
		return nil, nil
	default:
		return nil, fmt.Errorf("%d streams wait to be accepted", maxUnaccepted)
	}
}

// Vouch tells the server that the user of c has authenticated. From then on, c counts towards
// MaxStreams, and no stream without an authenticated user can replace it. c may itself replace one
// that has no path; if there is none, Vouch fails. At the client's end, Vouch does nothing.
func (c *Conn) Vouch() error {
	v, ok := c.side.(*served)
	if !ok {
		return nil
	}
	return v.s.vouch(c)
}

func (s *Server) vouch(c *Conn) error {
	s.mu.Lock()
	in := 0
	for _, other := range s.live {
		if other != c && other.isVouched() {
			in++
		}
	}
	var victim *Conn
	if in >= s.cfg.MaxStreams {
		if victim = s.idle(c); victim == nil {
			s.mu.Unlock()
			return fmt.Errorf("%d streams are in use", in)
		}
	}
	c.mu.Lock()
	c.side.(*served).vouched = true
	c.mu.Unlock()
	s.mu.Unlock()
	if victim != nil {
		victim.evict("another stream needed its place")
	}
	return nil
}

// idle returns the vouched stream without a path, other than c, that is needed least; nil if there
// is none. The server's lock is held.
func (s *Server) idle(c *Conn) *Conn {
	for _, one := range s.detached() {
		if one.c != c && one.rank > rankUnvouched {
			return one.c
		}
	}
	return nil
}

func (c *Conn) isVouched() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.side.(*served)
	return ok && v.vouched
}
