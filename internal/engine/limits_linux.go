package engine

import (
	"math"

	"golang.org/x/sys/unix"
)

// HardLimits returns the hard limits of this process that templates may set, by the names of
// keyway.Ulimit; -1 means no limit.
func HardLimits() map[string]int64 {
	limits := map[string]int64{}
	for name, resource := range map[string]int{"nofile": unix.RLIMIT_NOFILE, "memlock": unix.RLIMIT_MEMLOCK, "stack": unix.RLIMIT_STACK,
		"nproc": unix.RLIMIT_NPROC, "core": unix.RLIMIT_CORE} {
		var r unix.Rlimit
		if unix.Getrlimit(resource, &r) != nil {
			continue
		}
		if limits[name] = int64(min(r.Max, math.MaxInt64)); r.Max > math.MaxInt64 {
			limits[name] = -1
		}
	}
	return limits
}
