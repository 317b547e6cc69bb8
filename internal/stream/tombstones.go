package stream

import (
	"errors"
	"sort"
	"time"
)

// maxDead bounds the ended streams that a server remembers.
const maxDead = 1024

// tombstone is the record of a stream that has ended.
type tombstone struct {
	keys *keys
	code Code
	text string
}

// tombstones are the records of the streams that ended last, at most maxDead.
type tombstones struct {
	byID   map[[idLen]byte]tombstone
	order  [][idLen]byte // a ring buffer, once it is full
	oldest int
}

func (g *tombstones) add(k *keys, err error) {
	if g.byID == nil {
		g.byID = map[[idLen]byte]tombstone{}
	}
	code, text := reason(err)
	g.byID[k.id] = tombstone{k, code, text}
	if len(g.order) < maxDead {
		g.order = append(g.order, k.id)
		return
	}
	delete(g.byID, g.order[g.oldest])
	g.order[g.oldest] = k.id
	g.oldest = (g.oldest + 1) % maxDead
}

func (g *tombstones) find(id [idLen]byte) (tombstone, bool) {
	end, ok := g.byID[id]
	return end, ok
}

// reason returns the refusal that a client gets for a stream that ended with err.
func reason(err error) (Code, string) {
	var refusal *Refusal
	var abort *abortError
	switch {
	case errors.Is(err, errFinished):
		return CodeFinished, ""
	case errors.As(err, &refusal):
		return refusal.Code, refusal.Text
	case errors.As(err, &abort):
		return CodeReset, abort.reason.Error()
	}
	return CodeReset, err.Error()
}

// Ranks of streams without a path. The lowest rank is evicted first.
const (
	rankUnvouched   = iota // no user has logged in over it
	rankUnconfirmed        // its client has never proved that it has the keys
	rankClosed             // its local user has closed it
	rankMissed
)

// candidate is a stream without a path.
type candidate struct {
	c     *Conn
	rank  int // lower goes first
	since time.Time
	held  int
}

// detached returns the streams without a path in the order in which to evict them: by rank, then by
// the time without a path, the longest first. The server's lock is held.
func (s *Server) detached() []candidate {
	var all []candidate
	for _, c := range s.live {
		if one, ok := c.candidate(); ok {
			all = append(all, one)
		}
	}
	sort.Slice(all, func(i, j int) bool { // slices.SortFunc is 30 KB for each type
		a, b := all[i], all[j]
		return a.rank < b.rank || a.rank == b.rank && a.since.Before(b.since)
	})
	return all
}

func (c *Conn) candidate() (candidate, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.side.(*served)
	if !ok || c.path != nil || c.wire.err != nil {
		return candidate{}, false
	}
	one := candidate{c: c, since: v.since, held: c.wire.tx.held + c.wire.rx.live, rank: rankMissed}
	switch {
	case !v.vouched:
		one.rank = rankUnvouched
	case !c.wire.confirmed:
		one.rank = rankUnconfirmed
	case c.wire.closed:
		one.rank = rankClosed
	}
	return one, true
}

// retire ends the detached streams that exceed the server's bounds.
func (s *Server) retire() {
	s.mu.Lock()
	all := s.detached()
	s.mu.Unlock()
	held := 0
	for _, one := range all {
		held += one.held
	}
	for i, one := range all {
		if len(all)-i <= s.cfg.MaxDetached && held <= maxDetachedBytes {
			return
		}
		held -= one.held
		one.c.evict("too many streams were without a path")
	}
}

// evict ends a stream without a path to make room. It does nothing if the stream has a path again.
func (c *Conn) evict(why string) {
	c.step(time.Now(), func() effects {
		if c.path != nil {
			return 0
		}
		return c.wire.end(&Refusal{CodeExpired, why})
	})
}
