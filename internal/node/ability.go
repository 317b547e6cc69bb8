package node

import (
	"context"

	"keyway/internal/api"
	"keyway/internal/engine"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

// What an engine can do beside Engine is an interface of this package for each
// ability, found by assertion. Each has a suite in enginetest, and a row here.
var known = []struct {
	name string
	has  func(engine.Engine) bool
}{
	{api.AbilityGPUs, is[gpuLender]},
	{api.AbilityEnvironments, is[surveyor]},
}

// gpuLender is an engine that lends GPUs to its workspaces.
type gpuLender interface {
	// GPUs tells which GPUs running workspaces have, of every owner that the platform
	// shows. Whoever has leases need not be told of.
	GPUs(ctx context.Context) ([]gpu.Holding, error)
}

// surveyor is an engine that tells what its workspaces really consist of.
type surveyor interface {
	// Environments tells of each workspace, in that order, or in its Error why not. The
	// names of GPUs in the answer are their UUIDs.
	Environments(ctx context.Context, names []keyway.Name) ([]keyway.Environment, error)
}

func is[ability any](e engine.Engine) bool {
	_, ok := e.(ability)
	return ok
}

// abilities are the names of what e can do.
func abilities(e engine.Engine) []string {
	var names []string
	for _, a := range known {
		if a.has(e) {
			names = append(names, a.name)
		}
	}
	return names
}

// GPUs implements api.Node. An engine that cannot be asked hides nothing: leases tell
// of its workspaces, too.
func (n *Node) GPUs(ctx context.Context) (keyway.GPUReport, error) {
	var told []gpu.Holding
	for _, e := range n.engines {
		if l, ok := e.(gpuLender); ok {
			if held, err := l.GPUs(ctx); err == nil {
				told = append(told, held...)
			}
		}
	}
	return n.gpus.Report(ctx, told)
}
