package stream

import "time"

// alarm is the only timer of a stream.
type alarm struct {
	ring  func()
	timer *time.Timer
	due   time.Time // when it rings; zero: not
}

// set has ring called at a time; the zero time is none. A timer that rings too
// early costs less than moving it with every frame, so it is never moved to later.
func (a *alarm) set(at, now time.Time) {
	if at.IsZero() || !a.due.IsZero() && !at.Before(a.due) {
		return
	}
	a.due = at
	if a.timer == nil {
		a.timer = time.AfterFunc(at.Sub(now), a.ring)
	} else {
		a.timer.Reset(at.Sub(now))
	}
}

// rang is called when it has.
func (a *alarm) rang() { a.due = time.Time{} }

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// sooner is the earlier of two times, of which the zero time is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
