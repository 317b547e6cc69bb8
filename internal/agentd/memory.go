package agentd

import (
	"context"
	"math"
	"runtime/metrics"
	"time"

	"keyway/internal/memory"
)

// tidyInterval bounds how long an agent keeps memory that a burst of requests
// took.
const tidyInterval = 10 * time.Second

// tidyMemory gives memory back after requests have used some, until ctx ends. The runtime alone
// would take minutes, and keeps the memory of many simultaneous connections.
func tidyMemory(ctx context.Context) {
	tick := time.NewTicker(tidyInterval)
	defer tick.Stop()
	for seen := uint64(never); ; { // the first time for the memory of the start
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if collections() != seen {
			memory.Release()
			seen = collections()
		}
	}
}

// never is no number of collections.
const never = math.MaxUint64

// collections returns the number of garbage collections: it does not grow while the agent is
// idle.
func collections() uint64 {
	s := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}
