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

// Each ability of an engine beside Engine is an interface of this package, found by a type
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
	// GPUs returns the GPUs of the running workspaces of every owner that the platform shows.
	// Holders of leases may be left out.
	GPUs(ctx context.Context) ([]gpu.Holding, error)
}

// surveyor is an engine that can describe the environments of its workspaces.
type surveyor interface {
	// Environments describes each workspace, in that order; an Error says why one cannot be
	// described. The names of GPUs are their UUIDs.
	Environments(ctx context.Context, names []keyway.Name) ([]keyway.Environment, error)
}

// imageKeeper is an engine whose images can be copied to and from other places.
type imageKeeper interface {
	// ImageLayers returns the layers of a present image.
	ImageLayers(ctx context.Context, image string) (keyway.ImageLayers, error)
	// HaveLayers returns the number of these layers, from the lowest on, that an archive to import
	// here may omit.
	HaveLayers(ctx context.Context, layers []string) (int, error)
	// ExportImage returns an archive of the image, in the format of docker save, without the files
	// of its lowest layers. The caller closes it.
	ExportImage(ctx context.Context, image string, without int) (io.ReadCloser, error)
	// ImportImage loads an archive of one image, under that name only; an empty name means none.
	ImportImage(ctx context.Context, image string, archive io.Reader) error
	// SameName reports whether an image that is imported under one name is found under the other.
	SameName(a, b string) bool
	// ForgetsParts reports whether an interrupted download of a layer starts over the next time,
	// and the engine loads archives with the layers in the registry's form. False: one of both is
	// not so, or not known.
	ForgetsParts(ctx context.Context) bool
	// PullImage makes the engine pull the image from its registry, with login or, if that is zero,
	// with the credentials of docker login at the place. Present layers are not requested.
	PullImage(ctx context.Context, image string, login keyway.Login, report func(keyway.Progress)) error
}

func is[ability any](e engine.Engine) bool {
	_, ok := e.(ability)
	return ok
}

// Abilities returns the names of e's abilities (api.Ability…), in the order of known.
func Abilities(e engine.Engine) []string {
	var names []string
	for _, a := range known {
		if a.has(e) {
			names = append(names, a.name)
		}
	}
	return names
}

// GPUs implements api.Node. If an engine cannot be asked, leases still show its workspaces.
func (n *Node) GPUs(ctx context.Context) (keyway.GPUReport, error) {
	return n.gpus.Report(ctx, n.holdings)
}

// holdings asks all engines about GPUs, at the same time.
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
