// Package chosen completes the Spec of a workspace with the place's choices, and later
// distinguishes these from requested values.
package chosen

import (
	"os"
	"slices"
	"strconv"

	"github.com/moby/moby/api/types/system"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

// The options that a place may choose.
const (
	shm  = "shm"
	user = "user"
)

// Complete completes s with facts of the place: its owner's uid, the size of its memory, and, for an
// engine without root on this machine (local), the limits of processes. It returns the completed Spec
// and a record of the place's choices.
func Complete(s keyway.Spec, d daemon.Identity, local bool, host system.Info, report func(keyway.Progress)) (keyway.Spec, *engine.Chosen) {
	c := &engine.Chosen{}
	if s.Template != "" && s.ShmSize == 0 && s.IPC != keyway.IPCHost && !s.Mounted(keyway.ShmDir) {
		s.ShmSize, c.Options = defaultShm(host.MemTotal, s.Memory), append(c.Options, shm)
	}
	if s.Caller {
		s.Caller, s.User, c.Options = false, caller(d, os.Getuid(), os.Getgid()), append(c.Options, user)
	}
	if d.Rootless && s.Template != "" && local { // a limit that the user sets himself is refused instead
		requested := s.Ulimits
		if s = engine.Lowered(s, engine.HardLimits(), d.Title(), report); !slices.Equal(s.Ulimits, requested) {
			c.Ulimits = requested
		}
	}
	return s, c
}

// Asked returns the environment that was requested for a workspace with the completed Spec s. The
// daemon has made the container by it, and nothing in the container can change it. If c is nil, an
// older keyway made the workspace, and the values that the place would choose count as chosen.
func Asked(s keyway.Spec, c *engine.Chosen, host system.Info, d daemon.Identity) keyway.Environment {
	env := s.Environment()
	if c == nil {
		c = &engine.Chosen{}
		if s.Template != "" && s.ShmSize == defaultShm(host.MemTotal, s.Memory) {
			c.Options = append(c.Options, shm)
		}
		if s.User != "" && s.User == caller(d, os.Getuid(), os.Getgid()) {
			c.Options = append(c.Options, user)
		}
	}
	if slices.Contains(c.Options, shm) {
		env.Shm = 0
	}
	if slices.Contains(c.Options, user) {
		env.User = keyway.UserCaller
	}
	if s.Ulimits = c.Ulimits; len(s.Ulimits) > 0 {
		env.AskedUlimits = s.Environment().Options[keyway.OptionUlimits]
	}
	return env
}

// defaultShm returns the size of /dev/shm if a template does not set it: half of the memory
// that the workspace may use, as on a machine without containers. Only used pages take memory. With
// the daemons' 64 MiB, data loaders die of bus errors.
func defaultShm(total, limit int64) int64 {
	if limit > 0 && limit < total {
		total = limit
	}
	return total / 2
}

// caller returns the user for programs in a container whose files are to belong to the owner. If
// the daemon runs as the owner, that is the container's root.
func caller(d daemon.Identity, uid, gid int) string {
	if d.Rootless {
		return "0:0"
	}
	return strconv.Itoa(uid) + ":" + strconv.Itoa(gid)
}
