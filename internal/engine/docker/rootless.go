package docker

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"keyway/internal/keyway"
)

// inquire asks whose the daemon is, if s has anything that depends on it. It is not
// asked otherwise, because Podman takes up to a second for the answer.
func (e *Engine) inquire(ctx context.Context, d daemon, s keyway.Spec) (daemon, error) {
	asked := slices.ContainsFunc(limits(s.Resources), func(l limit) bool { return l.asked })
	if !asked && !s.Caller {
		return d, nil
	}
	found, err := e.client.Info(ctx, client.InfoOptions{})
	if err != nil {
		return d, e.explain(ctx, err)
	}
	d.rootless, err = e.rootless(ctx, d, found.Info)
	if err != nil {
		return d, e.explain(ctx, err)
	}
	d.limitless = d.podman && d.rootless && found.Info.CgroupVersion == "1"
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known = &d
	return d, nil
}

// rootless reports whether the daemon runs as its user: the root of a container is
// that user. Docker says so in its answer; Podman says it by its own API only.
func (e *Engine) rootless(ctx context.Context, d daemon, said system.Info) (bool, error) {
	if !d.podman {
		return slices.ContainsFunc(said.SecurityOptions, func(o string) bool { return strings.TrimPrefix(o, "name=") == "rootless" }), nil
	}
	var info struct {
		Host struct {
			Security struct {
				Rootless bool `json:"rootless"`
			} `json:"security"`
		} `json:"host"`
	}
	err := e.askLibpod(ctx, http.MethodGet, "info", nil, &info)
	return info.Host.Security.Rootless, err
}

// unlimited refuses what a daemon without power over control groups would leave out
// without a word: with version 1 they are root's alone.
func unlimited(d daemon, r keyway.Resources) error {
	if !d.limitless {
		return nil
	}
	for _, l := range limits(r) {
		if l.asked && l.flag != flagUlimit {
			return keyway.Errorf(keyway.Usage, "a Podman that does not run as root cannot do what %s asks for at this place, which has control groups of version 1", l.flag).
				Advise(keyway.LeaveOutOrCgroup, strings.TrimPrefix(l.flag, "--"))
		}
	}
	return nil
}

// byLibpod reports whether a container must be made by Podman's own API: the other
// leaves GPUs out, and limits of processes where Podman does not run as root.
func byLibpod(d daemon, s keyway.Spec) bool {
	return d.podman && (!s.GPUs.None() || d.rootless && len(s.Ulimits) > 0)
}
