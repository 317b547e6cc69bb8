package node

import (
	"context"
	"io"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// keeper returns the engine of that name, or the first that works, if it keeps images.
func (n *Node) keeper(ctx context.Context, engineName, image string) (imageKeeper, error) {
	e, err := n.choose(ctx, keyway.Spec{Engine: engineName, Image: image}, func(keyway.Progress) {})
	if err != nil {
		return nil, err
	}
	k, ok := e.(imageKeeper)
	if !ok {
		return nil, keyway.Errorf(keyway.Usage, "the engine %s has no images (%s)", e.Name(), api.AbilityImages).Advise(keyway.UseContainers)
	}
	return k, nil
}

// ImageLayers implements api.Node.
func (n *Node) ImageLayers(ctx context.Context, engine, image string) (keyway.ImageLayers, error) {
	k, err := n.keeper(ctx, engine, image)
	if err != nil {
		return keyway.ImageLayers{}, err
	}
	return k.ImageLayers(ctx, image)
}

// HaveLayers implements api.Node.
func (n *Node) HaveLayers(ctx context.Context, engine string, layers []string) (int, error) {
	k, err := n.keeper(ctx, engine, keyway.DefaultImage)
	if err != nil {
		return 0, err
	}
	return k.HaveLayers(ctx, layers)
}

// ExportImage implements api.Node.
func (n *Node) ExportImage(ctx context.Context, engine, image string, without int) (io.ReadCloser, error) {
	k, err := n.keeper(ctx, engine, image)
	if err != nil {
		return nil, err
	}
	return k.ExportImage(ctx, image, without)
}

// ImportImage implements api.Node.
func (n *Node) ImportImage(ctx context.Context, engine, image string, archive io.Reader) error {
	k, err := n.keeper(ctx, engine, image)
	if err != nil {
		return err
	}
	_, all, err := n.published.read()
	if err == nil {
		err = all.CheckImport(image, k.SameName)
	}
	if err != nil {
		return err
	}
	return k.ImportImage(ctx, image, archive)
}
