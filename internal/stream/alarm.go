package stream

import "time"

// alarm is the only timer of a stream.
type alarm struct {
	ring  func()
	timer *time.Timer
	due   time.Time // time at which it rings; zero: never
}

// set has ring called at the time at; the zero time means never. A timer that fires too early costs
// less than moving it with every frame, so set never moves it to a later time.
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

// rang is called when the alarm has fired.
func (a *alarm) rang() { a.due = time.Time{} }

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// sooner returns the earlier of two times. The zero time means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
