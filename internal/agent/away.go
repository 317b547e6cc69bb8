package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"keyway/internal/audit"
	"keyway/internal/policy"
)

// away forgets the keys when the user seems to be: nothing was signed for long,
// the machine slept, the screen was locked.
type away struct {
	changed chan struct{} // holds one value: the triggers to watch have changed

	mu      sync.Mutex
	told    *policy.Forget // by keyway unlock, in place of the policy's
	lastUse time.Duration  // uptime at the last signature, or the last key that came
	asleep  time.Duration  // how long the machine had slept when we looked last
}

// sleepSlack is the difference of the clocks that can occur without a sleep.
const sleepSlack = 2 * time.Second

// triggers returns the events on which keys are forgotten.
func (a *Agent) triggers() policy.Forget {
	a.away.mu.Lock()
	told := a.away.told
	a.away.mu.Unlock()
	if told != nil {
		return *told
	}
	return a.policy().Forget()
}

// used notes that the user is present.
func (a *Agent) used() {
	a.away.mu.Lock()
	defer a.away.mu.Unlock()
	a.away.lastUse = a.config.uptime()
}

// forgetOn sets the events on which keys are forgotten.
func (a *Agent) forgetOn(f policy.Forget) {
	a.used()
	a.away.mu.Lock()
	a.away.told = &f
	a.away.mu.Unlock()
	select {
	case a.away.changed <- struct{}{}:
	default:
	}
}

// lookAround forgets the keys if they are due. It is called before every request, because no
// timer runs while the machine sleeps: a request right after the wake-up must not be faster.
func (a *Agent) lookAround() {
	uptime, asleep := a.config.uptime(), a.config.asleep()
	a.away.mu.Lock()
	slept := asleep - a.away.asleep
	a.away.asleep = asleep
	idle := uptime - a.away.lastUse
	a.away.mu.Unlock()
	if slept <= sleepSlack && idle < time.Second {
		return // no idle time is shorter, and a client with many requests need not wait for a file
	}
	switch f := a.triggers(); {
	case f.Sleep && slept > sleepSlack:
		a.forgetAway("the machine slept")
	case f.Idle > 0 && idle >= f.Idle:
		a.forgetAway(fmt.Sprintf("no signature for %v", f.Idle))
	}
}

// forgetAway leaves no line in the log where there was nothing to forget.
func (a *Agent) forgetAway(why string) {
	if a.keys.clear() > 0 {
		a.note(audit.Event{Event: audit.Remove, Verdict: audit.Allowed, Reason: "forgotten: " + why})
	}
}

// lookInterval bounds how late a key goes: timers stand still while the machine
// sleeps, its uptime does not.
const lookInterval = 5 * time.Second

// Watch forgets keys whose time has come, until ctx ends.
func (a *Agent) Watch(ctx context.Context) {
	var logind background
	defer logind.end()
	for {
		a.lookAround()
		a.lookAtFiles()
		a.noteRefusals(false)
		a.settle()
		if f := a.triggers(); f.Sleep || f.ScreenLock {
			logind.start(ctx, a.followLogind)
		} else {
			logind.end()
		}
		next := a.keys.expire()
		if next <= 0 || next > lookInterval {
			next = lookInterval
		}
		look := time.NewTimer(next)
		select {
		case <-look.C:
		case <-a.away.changed:
			look.Stop()
		case <-ctx.Done():
			look.Stop()
			return
		}
	}
}

// background is a function that runs, or not. The zero value does not.
type background struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

func (b *background) start(ctx context.Context, run func(context.Context)) {
	if b.cancel != nil {
		return
	}
	ctx, b.cancel = context.WithCancel(ctx)
	ended := make(chan struct{})
	b.ended = ended
	go func() { // end waits for it
		defer close(ended)
		run(ctx)
	}()
}

func (b *background) end() {
	if b.cancel != nil {
		b.cancel()
		<-b.ended
		b.cancel = nil
	}
}
