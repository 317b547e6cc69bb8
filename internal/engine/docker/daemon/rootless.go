package daemon

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/system"
)

// Inquire completes d: whether the daemon runs as its user, and whether it can limit what
// containers use. said is the daemon's Said. Podman takes up to a second to answer.
func (c *Client) Inquire(ctx context.Context, d Identity, said system.Info) (Identity, error) {
	var err error
	if d.Rootless, err = c.Rootless(ctx, d, said); err != nil {
		return d, c.Explain(ctx, err)
	}
	d.Limitless = d.Podman && d.Rootless && said.CgroupVersion == "1"
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = &d
	return d, nil
}

// Rootless reports whether the daemon runs as its user, so that the root of a container is that
// user. Docker says so in said. Podman says so only in its own API, and is asked once until Probe.
func (c *Client) Rootless(ctx context.Context, d Identity, said system.Info) (bool, error) {
	if !d.Podman {
		return slices.ContainsFunc(said.SecurityOptions, func(o string) bool { return strings.TrimPrefix(o, "name=") == "rootless" }), nil
	}
	c.mu.Lock()
	asked := c.rootless
	c.mu.Unlock()
	if asked != nil {
		return *asked, nil
	}
	var info struct {
		Host struct {
			Security struct {
				Rootless bool `json:"rootless"`
			} `json:"security"`
		} `json:"host"`
	}
	if err := c.Libpod(ctx, http.MethodGet, "info", nil, &info); err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rootless = &info.Host.Security.Rootless
	return info.Host.Security.Rootless, nil
}
