package node

import (
	"context"
	"io"
	"slices"
	"sync"

	"keyway/internal/api"
	"keyway/internal/engine"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

// Each ability of an engine beside Engine is an interface of this package, found by
// assertion, with a row here.
var known = []struct {
	name string
	has  func(engine.Engine) bool
}{
	{api.AbilityGPUs, is[gpuLender]},
	{api.AbilityEnvironments, is[surveyor]},
	{api.AbilityImages, is[imageKeeper]},
	{api.AbilityAdopt, is[adopter]},
}

// gpuLender is an engine that lends GPUs to its workspaces.
type gpuLender interface {
	// GPUs tells which GPUs running workspaces have, of every owner that the platform
	// shows. Holders of leases may be left out.
	GPUs(ctx context.Context) ([]gpu.Holding, error)
}

// surveyor is an engine that tells what its workspaces really consist of.
type surveyor interface {
	// Environments tells of each workspace, in that order, or in its Error why not. The
	// names of GPUs in the answer are their UUIDs.
	Environments(ctx context.Context, names []keyway.Name) ([]keyway.Environment, error)
}

// imageKeeper is an engine whose images can be copied to and from other places.
type imageKeeper interface {
	// ImageLayers tells what an image that is here is made of.
	ImageLayers(ctx context.Context, image string) (keyway.ImageLayers, error)
	// HaveLayers returns how many of these layers, from the lowest on, need not be in an
	// archive that is imported here.
	HaveLayers(ctx context.Context, layers []string) (int, error)
	// ExportImage is an archive of the image, as docker save makes it, without the files
	// of its lowest layers. The caller closes it.
	ExportImage(ctx context.Context, image string, without int) (io.ReadCloser, error)
	// ImportImage takes in an archive of one image, which gets that name and no other; an
	// empty name is none.
	ImportImage(ctx context.Context, image string, archive io.Reader) error
	// SameName reports whether an image that is imported by the one name is found by the
	// other.
	SameName(a, b string) bool
	// ForgetsParts reports whether a layer that is cut while it is pulled begins anew the
	// next time, and archives with the layers as a registry has them are taken in.
	ForgetsParts(ctx context.Context) bool
	// PullImage gets the image from its registry by the engine's own means, with that
	// login or, if it is none, what docker login keeps at the place. Layers that are
	// here are not asked for.
	PullImage(ctx context.Context, image string, login keyway.Login, report func(keyway.Progress)) error
}

func is[ability any](e engine.Engine) bool {
	_, ok := e.(ability)
	return ok
}

// Abilities returns the names of what e can do (api.Ability…), in the order of known.
func Abilities(e engine.Engine) []string {
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
	return n.gpus.Report(ctx, n.holdings)
}

// holdings are what the engines tell of GPUs, which are asked at once.
func (n *Node) holdings(ctx context.Context) []gpu.Holding {
	told := make([][]gpu.Holding, len(n.engines))
	var asked sync.WaitGroup
	for i, e := range n.engines {
		if l, ok := e.(gpuLender); ok {
			asked.Go(func() {
				if held, err := l.GPUs(ctx); err == nil {
					told[i] = held
				}
			})
		}
	}
	asked.Wait()
	return slices.Concat(told...)
}
