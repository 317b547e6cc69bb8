package laptop

import (
	"context"
	"time"

	"keyway/internal/keyway"
)

// GPUListing is one place's report of its GPUs, or an error.
type GPUListing struct {
	Place keyway.Place `json:"place"`
	keyway.GPUReport
	Error *keyway.Error `json:"error,omitempty"`
}

// gpuTimeout bounds the time in which a reached place reports its GPUs: a driver that first
// sets them up takes long, and the node's own timeout is shorter.
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
			err = keyway.Errorf(keyway.Unreachable, "%s has not described its GPUs within %v", l.Place, gpuTimeout).
				Advise(keyway.SeePlace, string(l.Place))
		}
	}
	l.Error = keyway.AsError(err)
	return l
}
