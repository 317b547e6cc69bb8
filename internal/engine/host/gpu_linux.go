package host

import (
	"context"
	"os"
	"strconv"

	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

// lend gets the GPUs that s requests.
func (e *Engine) lend(ctx context.Context, s keyway.Spec, report func(keyway.Progress)) (*gpu.Grant, error) {
	grant, err := e.gpus.Take(ctx, request(s), report)
	if err == nil && grant != nil {
		report(keyway.Progress{Message: "the host engine cannot wall off the other GPUs: " + visibleDevices + " names those of the workspace, which is an agreement"})
	}
	return grant, err
}

func request(s keyway.Spec) gpu.Request {
	return gpu.Request{Holder: gpu.Holder{Owner: strconv.Itoa(os.Getuid()), Workspace: s.Name, Engine: Name}, GPUs: s.GPUs}
}

// lendAgain gets GPUs for a workspace that is started again: as many as it requested, not always
// the same ones. It does not wait for them.
func (e *Engine) lendAgain(ctx context.Context, s keyway.Spec) (*gpu.Grant, error) {
	s.GPUs.Wait = false
	grant, err := e.gpus.Take(ctx, request(s), func(keyway.Progress) {})
	if keyway.Is(err, keyway.NoGPU) {
		return nil, keyway.Errorf(keyway.NoGPU, "%s cannot have its GPUs now: %w", s.Name, err).Advise(keyway.SeeGPUs)
	}
	return grant, err
}

// GPUs returns none: leases show the GPUs of this engine's workspaces, for every owner.
func (e *Engine) GPUs(context.Context) ([]gpu.Holding, error) { return nil, nil }
