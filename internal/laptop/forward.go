package laptop

import (
	"context"
	"errors"

	"keyway/internal/link"
	"keyway/internal/sshconfig"
)

// Forward forwards a port of this machine's 127.0.0.1 to a port or a socket of a workspace until
// ctx ends, and calls each with every state. It replaces a link that ends.
func (here *Laptop) Forward(ctx context.Context, e sshconfig.Entry, want link.ForwardRequest, each func(link.ForwardState)) error {
	want.Env = here.env()
	if _, err := here.FindSSH(); err != nil {
		return err
	}
	for {
		// The uplink comes first: if its ssh asks something, the user is here to answer.
		l, _, err := here.Connect(ctx, e.Place)
		if err == nil {
			err = l.Forward(ctx, e.Place, e.Name, want, each)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, link.ErrGone):
			return err
		}
		each(link.ForwardState{Why: "keyway's link was replaced"})
	}
}
