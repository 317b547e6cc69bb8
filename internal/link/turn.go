package link

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"keyway/internal/keyway"
)

// refusalPauses are how long streams wait before they try a way again that a host
// has refused, or that somebody has to answer for: soon, because what is of the
// moment passes, and then so seldom that a host which counts failures (fail2ban: five
// in ten minutes) does not shut its user out. A way that breaks otherwise is not
// paused: the streams' own pauses are enough.
var refusalPauses = []time.Duration{4 * time.Second, 16 * time.Second, 2 * time.Minute, 8 * time.Minute}

// agentLook is how often the agent is looked at while streams wait for their turn.
const agentLook = 2 * time.Second

// turn is when the way may be tried again unasked. It is under the way's lock.
type turn struct {
	refusals int       // since the way was up
	next     time.Time // zero: now
}

// isRefusal reports whether an error is not cured by trying again at once.
func isRefusal(err error) bool {
	var e *keyway.Error
	return errors.As(err, &e) && e.Kind != keyway.Unreachable && e.Kind != keyway.Interrupted
}

// after is t after an attempt that has ended with err.
func (t turn) after(err error, now time.Time) turn {
	if !isRefusal(err) {
		return t
	}
	pause := refusalPauses[min(t.refusals, len(refusalPauses)-1)]
	pause += time.Duration(rand.Int64N(int64(pause / 8))) // many ways need not come at once
	return turn{t.refusals + 1, now.Add(pause)}
}

// awaitTurn waits until the way may be tried again: when its pause is over, when a
// command has begun to bring it up, and at once when the agent has other keys or the
// network has changed, which ends ctx.
func (w *way) awaitTurn(ctx context.Context) error {
	w.mu.Lock()
	pause := time.Until(w.turn.next)
	if w.turn.refusals == 0 || w.up != nil || w.attempt != nil || pause <= 0 {
		w.mu.Unlock()
		return nil
	}
	if w.risen == nil {
		w.risen = make(chan struct{})
	}
	risen := w.risen
	w.mu.Unlock()
	timer, look := time.NewTimer(pause), time.NewTicker(agentLook)
	defer timer.Stop()
	defer look.Stop()
	held := w.agentHolds()
	for {
		select {
		case <-risen:
			return nil
		case <-timer.C:
			return nil
		case <-look.C:
			if w.agentHolds() != held {
				w.hurry()
				return nil
			}
		case <-ctx.Done():
			w.hurry()
			return ctx.Err()
		}
	}
}

// hurry lets whoever asks next try at once.
func (w *way) hurry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn.next = time.Time{}
}
