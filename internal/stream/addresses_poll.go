package stream

import (
	"context"
	"time"
)

// addressPeriod is how often addresses are looked at where nobody tells.
const addressPeriod = 5 * time.Second

// pollAddresses asks for a look at the addresses now and then, until ctx ends.
func pollAddresses(ctx context.Context, look func()) {
	ticker := time.NewTicker(addressPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			look()
		}
	}
}
