// Package lobby bounds the connections of peers that have not proved who they are, so that none of
// them prevents others from connecting. It neither reads nor authenticates a connection. Begin with
// New and Lobby.Enter.
//
// A full lobby does not refuse a new connection. It chooses one at random, of the peer that has the
// most, and ends it. A peer that fills a lobby with silent connections therefore loses its own. A
// login takes a fraction of a second, and is unlikely to be drawn in that time.
package lobby

import (
	"math/rand/v2"
	"sync"
)

// Lobby holds the places of connections. The zero Lobby has room for none: each
// connection ends as soon as it enters.
type Lobby struct {
	size   int
	mu     sync.Mutex
	places []*Slot
}

// New makes a lobby with that many places.
func New(size int) *Lobby { return &Lobby{size: size} }

// Slot is a connection's place in a lobby.
type Slot struct {
	lobby *Lobby
	peer  int
	evict func()
}

// Enter gives a connection of a peer a slot. evict is called once, from any goroutine, when another
// connection needs the slot; it may be called before Enter returns. It must not call the lobby.
func (l *Lobby) Enter(peer int, evict func()) *Slot {
	p := &Slot{lobby: l, peer: peer, evict: evict}
	l.mu.Lock()
	l.places = append(l.places, p)
	var drawn *Slot
	if len(l.places) > l.size {
		drawn = l.remove(victim(l.places, rand.IntN))
	}
	l.mu.Unlock()
	if drawn != nil {
		drawn.evict()
	}
	return p
}

// Leave releases the slot: the connection has ended, or its peer has proved who it is. It may be
// called again.
func (p *Slot) Leave() {
	p.lobby.mu.Lock()
	defer p.lobby.mu.Unlock()
	for i, q := range p.lobby.places {
		if q == p {
			p.lobby.remove(i)
			return
		}
	}
}

func (l *Lobby) remove(i int) *Slot {
	p := l.places[i]
	last := len(l.places) - 1
	l.places[i], l.places[last] = l.places[last], nil
	l.places = l.places[:last]
	return p
}

// victim returns the index of a place that draw picks among those of the peer with the most places.
// There must be at least one place.
func victim(places []*Slot, draw func(n int) int) int {
	count := map[int]int{}
	most := places[0].peer
	for _, p := range places {
		count[p.peer]++
		if count[p.peer] > count[most] {
			most = p.peer
		}
	}
	left := draw(count[most])
	for i, p := range places {
		if p.peer != most {
			continue
		}
		if left == 0 {
			return i
		}
		left--
	}
	panic("lobby: drew a place that is not there")
}
