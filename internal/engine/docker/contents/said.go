package contents

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"

	"keyway/internal/keyway"
)

// maxChanges bounds the changes of a container that are looked at.
const maxChanges = 1 << 20

// defaultPeriod is the time, in microseconds, that a quota of CPU time is for where no other is set.
const defaultPeriod = 100_000

// Changes converts the changes that a daemon lists.
func Changes(said []container.FilesystemChange) []keyway.FileChange {
	said = said[:min(len(said), maxChanges)]
	all := make([]keyway.FileChange, len(said))
	for i, c := range said {
		all[i] = keyway.FileChange{Path: c.Path, Change: keyway.ChangeAdded}
		switch c.Kind {
		case container.ChangeModify:
			all[i].Change = keyway.ChangeModified
		case container.ChangeDelete:
			all[i].Change = keyway.ChangeDeleted
		}
	}
	return all
}

// Mounted returns the paths at which mounts hide the image's files.
func Mounted(c container.InspectResponse) []string {
	var all []string
	for _, m := range c.Mounts {
		all = append(all, m.Destination)
	}
	if c.HostConfig != nil {
		all = slices.AppendSeq(all, maps.Keys(c.HostConfig.Tmpfs))
	}
	return all
}

// Homes returns the directories that may be the home of a container's user. The guest uses the
// first one that the user can write to: $HOME, the home directory in the image's passwd (which a
// daemon does not report), the working directory, or else a directory among its own files.
func Homes(c container.InspectResponse) []string {
	if c.Config == nil {
		return nil
	}
	var homes []string
	for _, kv := range c.Config.Env {
		if home, ok := strings.CutPrefix(kv, "HOME="); ok {
			homes = append(homes, home)
		}
	}
	switch user, _, _ := strings.Cut(c.Config.User, ":"); user {
	case "", "0", "root":
		return append(homes, "/root")
	default:
		return append(homes, "/home/"+user, c.Config.WorkingDir, keyway.GuestHome.UserHome())
	}
}

// Limits returns r with the limits that a container has now: a user of the daemon can change them
// while it runs (docker update). pids is the limit of processes if r has none. Podman does not
// report limits in the form in which they were requested.
func Limits(r keyway.Resources, c container.InspectResponse, podman bool, pids int64) keyway.Resources {
	if c.HostConfig == nil || podman {
		return r
	}
	now := c.HostConfig.Resources
	if now.NanoCPUs == 0 && now.CPUQuota > 0 { // docker update --cpu-quota
		now.NanoCPUs = int64(math.Round(float64(now.CPUQuota) / float64(cmp.Or(now.CPUPeriod, defaultPeriod)) * 1e9))
	}
	if now.NanoCPUs != int64(math.Round(r.CPUs*1e9)) {
		r.CPUs = float64(now.NanoCPUs) / 1e9
	}
	r.Memory = now.Memory
	if now.PidsLimit != nil && *now.PidsLimit != cmp.Or(r.PidsLimit, pids) {
		r.PidsLimit = cmp.Or(*now.PidsLimit, -1)
	}
	return r
}
