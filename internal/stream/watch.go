package stream

import (
	"context"
	"sync"
	"time"
)

const (
	clockPeriod = 2 * time.Second
	clockJump   = 3 * time.Second
)

// Watcher nudges streams (Conn.Nudge) when the machine wakes up or its addresses change. One
// Watcher serves all streams of a process, which need no timers for that.
type Watcher struct {
	log   Logger
	mu    sync.Mutex
	conns map[*Conn]struct{}
}

// NewWatcher makes a Watcher. It does nothing until Run is called.
func NewWatcher(log Logger) *Watcher {
	return &Watcher{log: log, conns: map[*Conn]struct{}{}}
}

func (w *Watcher) add(c *Conn) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = struct{}{}
}

func (w *Watcher) remove(c *Conn) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}

// Nudge nudges all streams. why is for the log.
func (w *Watcher) Nudge(why string) {
	w.mu.Lock()
	conns := make([]*Conn, 0, len(w.conns))
	for c := range w.conns {
		conns = append(conns, c)
	}
	w.mu.Unlock()
	w.log.Debug("the way may have changed", "why", why, "streams", len(conns))
	for _, c := range conns {
		c.Nudge()
	}
}

// Run watches the clock and the addresses until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	changed := make(chan struct{}, 1)
	var hints sync.WaitGroup
	hints.Go(func() { watchAddresses(ctx, func() { signal(changed) }) })
	defer hints.Wait()
	defer cancel()

	ticker := time.NewTicker(clockPeriod)
	defer ticker.Stop()
	clock := newClock(time.Now())
	known := usableAddresses()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if clock.jumped(time.Now()) {
				w.Nudge("this machine was asleep")
			}
		case <-changed:
			if now := usableAddresses(); now != known {
				known = now
				w.Nudge("the addresses of this machine have changed")
			}
		}
	}
}

// clock detects that the machine was asleep. Linux and macOS stop the monotonic clock during sleep,
// so the wall clock advances further. Windows does not stop it, so a tick is late by both clocks. A
// process that was stopped looks the same, and needs the same answer. A clock that was set by hand
// looks the same, too, and costs a PING.
type clock struct{ last time.Time }

func newClock(now time.Time) *clock { return &clock{now} }

// jumped reports whether the machine was asleep since the last call. It is called every
// clockPeriod.
func (c *clock) jumped(now time.Time) bool {
	wall := now.Round(0).Sub(c.last.Round(0)) // Round takes the monotonic part away
	mono := now.Sub(c.last)
	c.last = now
	return (wall-mono).Abs() > clockJump || mono > clockPeriod+clockJump
}
