package stream

import (
	"context"
	"time"
)

// addressPeriod is the interval of polling where the system does not report changes.
const addressPeriod = 5 * time.Second

// pollAddresses calls look at intervals until ctx ends.
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
