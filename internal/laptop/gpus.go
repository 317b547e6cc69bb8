package laptop

import (
	"context"
	"time"

	"keyway/internal/keyway"
)

// GPUListing is what one place tells of its GPUs, or why it does not.
type GPUListing struct {
	Place keyway.Place `json:"place"`
	keyway.GPUReport
	Error *keyway.Error `json:"error,omitempty"`
}

// gpuTimeout is how long a place may take to tell of its GPUs once it is reached: a
// driver that sets them up first takes its time, and the node gives up before.
const gpuTimeout = 45 * time.Second

// GPUs asks one machine for its GPUs.
func (here *Laptop) GPUs(ctx context.Context, m Machine) GPUListing {
	l := GPUListing{Place: m.names[0]}
	node, err := here.Node(ctx, l.Place)
	if err == nil {
		timed, cancel := context.WithTimeout(ctx, gpuTimeout)
		defer cancel()
		l.GPUReport, err = node.GPUs(timed)
		if timed.Err() != nil && ctx.Err() == nil {
			err = keyway.Errorf(keyway.Unreachable, "%s has not told of its GPUs within %v", l.Place, gpuTimeout).
				Advise(keyway.SeePlace, string(l.Place))
		}
	}
	l.Error = keyway.AsError(err)
	return l
}
