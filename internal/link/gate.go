package link

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"keyway/internal/sleep"
)

const (
	// maxKnocking is how many connections to one first host may be begun and not
	// logged in yet at a time: sshd drops some from ten on (MaxStartups 10:30:100),
	// and others use it, too.
	maxKnocking = 4
	// knockJitter is by how much those that had to wait are spread.
	knockJitter = 100 * time.Millisecond
	// knockLook is how often it is looked whether a connection is logged in.
	knockLook = 50 * time.Millisecond
	// maxDropped is how often a host may drop a connection before anybody is logged in
	// until that is an error; the pauses between double from dropPause on.
	maxDropped = 5
	dropPause  = 150 * time.Millisecond
)

// gate lets few connections at a time begin at each first host. The zero value is
// ready.
type gate struct {
	mu    sync.Mutex
	slots map[string]chan struct{} // by first host; one for each that the link has used
}

// enter waits for a slot at host, and returns what gives it back. A host without a
// name is none.
func (g *gate) enter(ctx context.Context, host string) (leave func(), err error) {
	if host == "" {
		return func() {}, nil
	}
	g.mu.Lock()
	if g.slots == nil {
		g.slots = map[string]chan struct{}{}
	}
	slots := g.slots[host]
	if slots == nil {
		slots = make(chan struct{}, maxKnocking)
		g.slots[host] = slots
	}
	g.mu.Unlock()
	leave = sync.OnceFunc(func() { <-slots })
	select {
	case slots <- struct{}{}:
		return leave, nil
	default:
	}
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := sleep.For(ctx, rand.N(knockJitter)); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// whenIn calls leave as soon as the first host has let the attempt in, or ctx ends,
// and returns then.
func (a *attempt) whenIn(ctx context.Context, leave func()) {
	defer leave()
	look := time.NewTicker(knockLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		a.mu.Lock()
		t := a.dial
		a.mu.Unlock()
		if t != nil && t.route()[0].state().authenticated {
			return
		}
	}
}
