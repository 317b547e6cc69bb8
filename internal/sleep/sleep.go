// Package sleep waits for a time that a context can shorten.
package sleep

import (
	"context"
	"time"
)

// For waits for d. It returns ctx's error as soon as ctx ends, and at once if it has
// ended already.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return ctx.Err()
	}
}
