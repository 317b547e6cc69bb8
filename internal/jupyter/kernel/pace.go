package kernel

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// pace lets messages that come fast come together: each time that the program wakes up
// costs more than a message does.
type pace struct{ last time.Time }

const (
	// fast is how close on each other messages come for it.
	fast = 10 * time.Millisecond
	// nap is how long at most a message waits then.
	nap = 5 * time.Millisecond
	// settled is for how long nothing else must have been done for a rest.
	settled = 100 * time.Millisecond
)

func (p *pace) wait(ctx context.Context) {
	now := time.Now()
	if since := now.Sub(p.last); since < fast && ctx.Err() == nil {
		if work.only(p, now) {
			runtime.Gosched() // what is ready is done first
			rest(nap)
		} else {
			time.Sleep(nap)
		}
		now = now.Add(nap)
	}
	p.last = now
}

// work is what the program does beside handing on what one kernel says. Nothing else goes on
// while a goroutine rests.
var work works

type works struct {
	mu    sync.Mutex
	tasks int
	pace  *pace // the last that waited,
	at    time.Time
	other time.Time // when there was something else
}

// only reports whether handing on at this pace is all that there is to do.
func (w *works) only(p *pace, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tasks > 0 || w.pace != p && now.Sub(w.at) < settled {
		w.other = now
	}
	w.pace, w.at = p, now
	return now.Sub(w.other) >= settled
}

// Task says that something else goes on, until done is called.
func Task() (done func()) {
	work.add(1)
	return func() { work.add(-1) }
}

func (w *works) add(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tasks += n
}
