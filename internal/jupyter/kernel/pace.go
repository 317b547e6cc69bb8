package kernel

import (
	"context"
	"time"

	"keyway/internal/sleep"
)

// pace lets messages that arrive in quick succession form batches: waking up for each of them
// costs more than handling it. Its zero value has seen no message.
type pace struct{ last time.Time }

const (
	// fast is the time within which a second message starts a batch.
	fast = 10 * time.Millisecond
	// nap bounds the delay of a message that waits for a batch.
	nap = 5 * time.Millisecond
)

// wait returns at once after a message that came alone, otherwise after nap or the end of ctx.
func (p *pace) wait(ctx context.Context) {
	now := time.Now()
	if now.Sub(p.last) < fast {
		_ = sleep.For(ctx, nap) // the caller sees the end of ctx
		now = now.Add(nap)
	}
	p.last = now
}
