package link

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"keyway/internal/sleep"
)

const (
	// maxKnocking bounds the connections to one first host that have begun and not logged in yet:
	// sshd drops some from ten on (MaxStartups 10:30:100), and other clients use it, too.
	maxKnocking = 4
	// knockJitter is the range of random delays after a wait.
	knockJitter = 100 * time.Millisecond
	// knockLook is the interval at which the gate checks whether a connection has logged in.
	knockLook = 50 * time.Millisecond
	// maxDropped bounds the times that a host may drop a connection before a login, until that is
	// an error. The pauses between the attempts double from dropPause on.
	maxDropped = 5
	dropPause  = 150 * time.Millisecond
)

// gate bounds the connections that begin at the same time at each first host. The zero value is
// ready.
type gate struct {
	mu    sync.Mutex
	slots map[string]chan struct{} // by first host; never removed
}

// enter waits for a slot at host. leave releases it. An empty host needs no slot.
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

// whenIn calls leave as soon as the first host has let the attempt in or ctx ends. It then returns.
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
