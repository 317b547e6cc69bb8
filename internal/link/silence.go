package link

import (
	"context"
	"fmt"
	"sync"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/plain"
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
func (s starter) watch(place keyway.Place, d *dialAttempt, giveUp context.CancelCauseFunc, report func(keyway.Progress)) *watch {
	w := &watch{report: report, stop: make(chan struct{}), since: time.Now()}
	w.done.Go(func() {
		tick := time.NewTicker(min(silenceNotice, s.silence/4))
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
					giveUp(d.silentPlace(place, s.silence))
					return
				}
				if silent >= silenceNotice {
					report(keyway.Progress{Message: fmt.Sprintf("%s; waiting for %d s", d.stage(place), int(silent.Seconds()))})
				}
			}
		}
	})
	return w
}

func (d *dialAttempt) silentPlace(place keyway.Place, silence time.Duration) error {
	return keyway.Errorf(keyway.Unreachable, "%s, for %v now", d.stage(place), silence.Round(time.Second)).
		Hint("see where it stops: ssh -v %s true", plain.Shell(string(place)))
}

// stage is how far the attempt has come: who answers, and who does not. A nil one is
// that to the local place.
func (d *dialAttempt) stage(place keyway.Place) string {
	if d == nil {
		return "the node on this machine does not answer"
	}
	answers := ""
	for _, h := range d.route() {
		if !h.state().authenticated {
			if answers == "" {
				return h.name + " does not let anybody in yet, and says nothing"
			}
			return answers + " answers, but " + h.name + " behind it is silent (is it up, and does a firewall let " + answers + " through to it?)"
		}
		answers = h.name
	}
	return answers + " has let us in, but says nothing: the login or the shell there hangs"
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
