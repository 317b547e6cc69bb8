package link

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"keyway/internal/keyway"
)

// refusalPauses are how long streams wait before they try an uplink again that a host
// has refused, or that somebody has to answer for: soon, because what is of the
// moment passes, and then so seldom that a host which counts failures (fail2ban: five
// in ten minutes) does not shut its user out. An uplink that breaks otherwise is not
// paused: the streams' own pauses are enough.
var refusalPauses = []time.Duration{4 * time.Second, 16 * time.Second, 2 * time.Minute, 8 * time.Minute}

// agentLook is the interval of looks at the agent while streams wait to try again.
const agentLook = 2 * time.Second

// retry is when the uplink may be tried again unasked. It is under the uplink's lock.
type retry struct {
	refusals int       // since the uplink was up
	next     time.Time // zero: now
}

// isRefusal reports whether an error is not cured by trying again at once.
func isRefusal(err error) bool {
	var e *keyway.Error
	return errors.As(err, &e) && e.Kind != keyway.Unreachable && e.Kind != keyway.Interrupted
}

// after is t after an attempt that has ended with err.
func (t retry) after(err error, now time.Time) retry {
	if !isRefusal(err) {
		return t
	}
	pause := refusalPauses[min(t.refusals, len(refusalPauses)-1)]
	pause += time.Duration(rand.Int64N(int64(pause / 8))) // many uplinks need not come at once
	return retry{t.refusals + 1, now.Add(pause)}
}

// awaitRetry waits until the uplink may be tried again: when its pause is over, when a
// command has begun to bring it up, and at once when the agent has other keys or the
// network has changed, which ends ctx.
func (u *uplink) awaitRetry(ctx context.Context) error {
	u.mu.Lock()
	pause := time.Until(u.retry.next)
	if u.retry.refusals == 0 || u.up != nil || u.attempt != nil || pause <= 0 {
		u.mu.Unlock()
		return nil
	}
	if u.risen == nil {
		u.risen = make(chan struct{})
	}
	risen := u.risen
	u.mu.Unlock()
	timer, look := time.NewTimer(pause), time.NewTicker(agentLook)
	defer timer.Stop()
	defer look.Stop()
	held := u.agentHolds()
	for {
		select {
		case <-risen:
			return nil
		case <-timer.C:
			return nil
		case <-look.C:
			if !slices.Equal(u.agentHolds(), held) {
				u.hurry()
				return nil
			}
		case <-ctx.Done():
			u.hurry()
			return ctx.Err()
		}
	}
}

// hurry lets whoever asks next try at once.
func (u *uplink) hurry() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.retry.next = time.Time{}
}
