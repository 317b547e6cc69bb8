package link

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"keyway/internal/keyway"
)

// refusalPauses are the pauses before streams retry an uplink that a host has refused, or that
// needs an answer from the user. The first is short, since many refusals are temporary. Later
// ones are so long that a host which counts failures (fail2ban: five in ten minutes) does not
// lock its user out. An uplink that breaks for another reason is not paused, since the streams
// pause by themselves.
var refusalPauses = []time.Duration{4 * time.Second, 16 * time.Second, 2 * time.Minute, 8 * time.Minute}

// agentLook is the interval at which waiting streams look for new keys in the agent.
const agentLook = 2 * time.Second

// retry says when the uplink may be tried again without a command. The uplink's lock guards it.
type retry struct {
	refusals int       // since the uplink was last up
	next     time.Time // zero: now
}

// isRefusal reports whether retrying at once cannot help against an error.
func isRefusal(err error) bool {
	var e *keyway.Error
	return errors.As(err, &e) && e.Kind != keyway.Unreachable && e.Kind != keyway.Interrupted
}

// after returns t after an attempt that has ended with err.
func (t retry) after(err error, now time.Time) retry {
	if !isRefusal(err) {
		return t
	}
	pause := refusalPauses[min(t.refusals, len(refusalPauses)-1)]
	pause += time.Duration(rand.Int64N(int64(pause / 8))) // spreads the attempts of many uplinks
	return retry{t.refusals + 1, now.Add(pause)}
}

// awaitRetry waits until the uplink may be tried again. That is when its pause is over or a
// command has begun to bring it up, and at once when the agent's keys or the network change,
// which ends ctx.
func (u *uplink) awaitRetry(ctx context.Context) error {
	u.mu.Lock()
	pause := time.Until(u.retry.next)
	if u.retry.refusals == 0 || u.up != nil || u.attempt != nil || pause <= 0 {
		u.mu.Unlock()
		return nil
	}
	u.mu.Unlock()
	risen := u.rise()
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

// hurry permits the next attempt at once.
func (u *uplink) hurry() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.retry.next = time.Time{}
}
