package docker

import (
	"context"
	"errors"
	"net/http"

	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"keyway/internal/engine/docker/libpod"
)

// createByLibpod makes a container by Podman's own API. It first makes the volumes, because that
// request cannot give them labels.
func (e *Engine) createByLibpod(ctx context.Context, plan client.ContainerCreateOptions, devices []string) (id string, warnings []string, err error) {
	for _, m := range plan.HostConfig.Mounts {
		if m.Type != mount.TypeVolume || m.Source == "" {
			continue
		}
		if _, err := e.client.VolumeCreate(ctx, client.VolumeCreateOptions{Name: m.Source, Labels: m.VolumeOptions.Labels}); err != nil {
			return "", nil, err
		}
	}
	return e.postLibpod(ctx, libpod.Of(plan, devices))
}

func (e *Engine) postLibpod(ctx context.Context, request libpod.Request) (id string, warnings []string, err error) {
	var answer struct {
		ID       string   `json:"Id"`
		Warnings []string `json:"Warnings"`
	}
	if err := e.client.Libpod(ctx, http.MethodPost, "containers/create", request, &answer); err != nil {
		return "", nil, err
	}
	if answer.ID == "" {
		return "", nil, errors.New("the answer of Podman does not name the container that it made")
	}
	return answer.ID, answer.Warnings, nil
}
