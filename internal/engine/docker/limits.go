package docker

import (
	"slices"

	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

// unlimited refuses limits that a daemon without control groups would silently drop: with version
// 1, control groups are root's alone.
func unlimited(d daemon.Identity, r keyway.Resources) error {
	if !d.Limitless {
		return nil
	}
	for _, l := range limits(r) {
		if l.asked && l.option != ulimitOption {
			return keyway.Errorf(keyway.Usage, "a Podman that does not run as root cannot do what is asked for (%s) at this place, which has control groups of version 1", keyway.NounOf(l.option)).
				Advise(keyway.LeaveOutOrCgroup, l.option)
		}
	}
	return nil
}

// byLibpod reports whether a container must be made by Podman's own API: the Docker-compatible API
// drops GPUs and, with a rootless Podman, limits of processes, and gives a variable without a value
// the one of Podman's own service.
func byLibpod(d daemon.Identity, s keyway.Spec) bool {
	return d.Podman && (!s.GPUs.None() || len(s.Unset) > 0 || d.Rootless && len(s.Ulimits) > 0)
}

// dependsOnDaemon reports whether s has anything that depends on the daemon's user.
func dependsOnDaemon(s keyway.Spec) bool {
	return s.Caller || slices.ContainsFunc(limits(s.Resources), func(l limit) bool { return l.asked })
}
