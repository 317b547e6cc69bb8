package kernel

import "time"

// pace lets messages that arrive in quick succession form batches: waking up for each of them
// costs more than handling it. Its zero value has seen no message.
type pace struct {
	alarm alarm
	last  time.Time
}

const (
	// fast is the time within which a second message starts a batch.
	fast = 10 * time.Millisecond
	// nap bounds the delay of a message that waits for a batch.
	nap = 4000 * time.Microsecond
)

// wait returns at once after a message that came alone, otherwise after nap.
func (p *pace) wait() {
	now := time.Now()
	if now.Sub(p.last) < fast {
		p.alarm.sleep(nap)
		now = now.Add(nap)
	}
	p.last = now
}
