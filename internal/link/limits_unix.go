//go:build unix

package link

import (
	"syscall"

	"keyway/internal/keyway"
)

// The resources of a link, which outlives the command that starts it and serves all later ones.
const (
	leastFiles = 256      // open at once: three for each connection, a few for each place
	leastFile  = 64 << 20 // bytes of one file: the local node's program is one
)

// CheckLimits returns an error if this process, which is to be a link, has inherited limits that
// are too low for a link.
func CheckLimits() error {
	for _, l := range []struct {
		resource int
		least    uint64
		ulimit   string
	}{
		{syscall.RLIMIT_NOFILE, leastFiles, "-n"},
		{syscall.RLIMIT_FSIZE, leastFile, "-f"},
	} {
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(l.resource, &limit); err != nil {
			return err
		}
		if uint64(limit.Max) < l.least {
			return keyway.Errorf(keyway.Other, "the limit %d that this shell sets with ulimit %s is too low for the process that every later command would use; it needs %d",
				limit.Max, l.ulimit, l.least)
		}
		limit.Cur = max(limit.Cur, min(limit.Max, l.least))
		_ = syscall.Setrlimit(l.resource, &limit) // a soft limit may be the shell's
	}
	return nil
}
