package link

import (
	"context"
	"fmt"
	"sync"
	"time"

	"keyway/internal/keyway"
)

// watch ends the waiting for a place that says nothing.
type watch struct {
	report func(keyway.Progress)
	stop   chan struct{}
	done   sync.WaitGroup

	mu    sync.Mutex
	since time.Time // the last sign of life
}

// watch begins to watch over an ssh that was started just now; give up is called
// with the reason. The caller calls end.
func (s starter) watch(place keyway.Place, giveUp context.CancelCauseFunc, report func(keyway.Progress)) *watch {
	w := &watch{report: report, stop: make(chan struct{}), since: time.Now()}
	w.done.Go(func() {
		tick := time.NewTicker(min(hush, s.silence/4))
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case now := <-tick.C:
				if s.asking != nil && s.asking() {
					w.alive(now)
				}
				silent := w.silent(now)
				if silent >= s.silence {
					giveUp(silentPlace(place, s.silence))
					return
				}
				if silent >= hush {
					report(keyway.Progress{Message: fmt.Sprintf("waiting for %s, which has said nothing for %d s", place, int(silent.Seconds()))})
				}
			}
		}
	})
	return w
}

func silentPlace(place keyway.Place, silence time.Duration) error {
	return keyway.Errorf(keyway.Unreachable, "%s has said nothing for %v: the login or the shell there hangs", place, silence).
		Hint("see where it stops: ssh -v %s true", place)
}

// heard takes news of the place, which are a sign of life, and passes them on.
func (w *watch) heard(p keyway.Progress) {
	w.alive(time.Now())
	w.report(p)
}

func (w *watch) alive(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = now
}

func (w *watch) silent(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return now.Sub(w.since)
}

func (w *watch) end() {
	close(w.stop)
	w.done.Wait()
}
