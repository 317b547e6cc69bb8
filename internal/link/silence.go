package link

import (
	"context"
	"fmt"
	"sync"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/plain"
)

// watch ends the wait for a place that sends nothing.
type watch struct {
	report func(keyway.Progress)
	stop   chan struct{}
	done   sync.WaitGroup

	mu    sync.Mutex
	since time.Time // the last sign of life
}

// watchTick is the longest interval between two checks.
const watchTick = time.Second

// watch begins to watch an ssh that has just been started. giveUp is called with the reason. The
// caller calls end.
func (s starter) watch(place keyway.Place, d *sshRun, giveUp context.CancelCauseFunc, report func(keyway.Progress)) *watch {
	w := &watch{report: report, stop: make(chan struct{}), since: time.Now()}
	w.done.Go(func() {
		tick := time.NewTicker(min(watchTick, s.silence/4))
		defer tick.Stop()
		before, told := progress{}, silenceNotice
		for {
			select {
			case <-w.stop:
				return
			case now := <-tick.C:
				p := d.progress()
				if p != before || s.asking != nil && s.asking() {
					w.alive(now)
					before = p
				}
				silent, limit := w.silent(now), s.limit(p)
				if silent < silenceNotice {
					told = silenceNotice
				}
				if silent >= limit {
					giveUp(d.silentPlace(place, limit))
					return
				}
				if silent >= told {
					report(keyway.Progress{Message: fmt.Sprintf("%s; waiting for %d s", d.stage(place), int(silent.Seconds()))})
					told += silenceNotice
				}
			}
		}
	})
	return w
}

// progress is the progress of an attempt: the number of hosts that have let it in, and the step of
// the next one. answered reports whether this ssh reports steps.
type progress struct {
	entered  int
	next     step
	answered bool
}

// progress returns the zero value for the local place, whose attempt is nil.
func (d *sshRun) progress() (p progress) {
	if d == nil {
		return p
	}
	for _, h := range d.route() {
		p.next = stepOf(h.own())
		if p.next != entered {
			p.next = min(p.next, proved) // a host may ask for signatures again and again
			break
		}
		p.entered++
		p.answered = p.answered || tellsSteps(h.own())
	}
	return p
}

// limit returns the time for which a place may send nothing at that progress. A step that needs no
// person may take no longer than connecting to the first host. A login may have to wait for a
// person, and so may a proxy command.
func (s starter) limit(p progress) time.Duration {
	if p.next == identified || p.next == begun && p.answered {
		return min(s.behind, s.silence)
	}
	return s.silence
}

func (d *sshRun) silentPlace(place keyway.Place, silence time.Duration) error {
	return keyway.Errorf(keyway.Unreachable, "no answer for %v: %s", silence.Round(time.Second), d.stage(place)).
		Hint("see where it stops: ssh -v %s true", plain.Shell(string(place)))
}

// stage returns the stage that the attempt has reached: which host answers, and which does not. A
// nil sshRun stands for the local place.
func (d *sshRun) stage(place keyway.Place) string {
	if d == nil {
		return "the node on this machine does not answer"
	}
	answers := ""
	for _, h := range d.route() {
		at := stepOf(h.own())
		if at == identified || at == proved || at == signing {
			if socket := d.silentAgent(); socket != "" {
				return "the agent " + plain.Line(socket) + " does not answer, and the ssh to " + h.name + " may be waiting for it"
			}
		}
		switch {
		case at == entered:
			answers = h.name
			continue
		case at == begun && answers != "":
			return answers + " answers, but " + h.name + " behind it is silent (is it up, and does a firewall let " + answers + " through to it?)"
		case at == identified:
			return h.name + " began to answer, and then stopped"
		case at == signing:
			return "the login to " + h.name + " waits for a signature, or for " + h.name + " to accept it: is there a window in which the agent asks for confirmation, or a security key to touch?"
		}
		return h.name + " has not accepted the login, and sends nothing"
	}
	return answers + " has accepted the login, but sends nothing: the login hangs, or a start file of the shell there does (does it read its input, or start another shell?)"
}

// heard passes progress of the place on. It counts as a sign of life.
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
