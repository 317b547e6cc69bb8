package lobby

import (
	"sync/atomic"
	"testing"
)

// TestFloodTakesItsOwn checks that a peer that fills the lobby displaces only its own connections,
// however many it opens.
func TestFloodTakesItsOwn(t *testing.T) {
	l := New(8)
	var owner, flood atomic.Int32
	mine := l.Enter(1, func() { owner.Add(1) })
	for range 1000 {
		l.Enter(2, func() { flood.Add(1) })
	}
	late := l.Enter(1, func() { owner.Add(1) })
	if owner.Load() != 0 || flood.Load() != 1000+2-8 {
		t.Errorf("evicted: %d of the owner, %d of the flood", owner.Load(), flood.Load())
	}
	mine.Leave()
	late.Leave()
	late.Leave()
	if n := len(l.places); n != 6 {
		t.Errorf("%d places are taken", n)
	}
}

// TestDrawsEveryPlace checks that every connection of a peer is chosen with the same probability: a
// new one is neither refused nor safe.
func TestDrawsEveryPlace(t *testing.T) {
	places := []*Slot{{peer: 1}, {peer: 2}, {peer: 1}, {peer: 1}, {peer: 3}}
	for draw, want := range []int{0, 2, 3} {
		if got := victim(places, func(n int) int {
			if n != 3 {
				t.Errorf("drew of %d", n)
			}
			return draw
		}); got != want {
			t.Errorf("draw %d: place %d", draw, got)
		}
	}
}

func TestZeroLobby(t *testing.T) {
	var l Lobby
	evicted := false
	l.Enter(1, func() { evicted = true }).Leave()
	if !evicted {
		t.Error("there was room")
	}
}
