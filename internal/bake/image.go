package bake

import (
	"bytes"
	"encoding/json"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image returns the baked image over a base in a registry. The base's layers are not fetched
// until they are asked for.
func (g Guest) Image(base Base, from v1.Image) (v1.Image, error) {
	config, err := from.RawConfigFile()
	if err != nil {
		return nil, err
	}
	text, err := g.Config(base, config)
	if err != nil {
		return nil, err
	}
	var baked v1.ConfigFile
	if err := json.Unmarshal(text, &baked); err != nil {
		return nil, err
	}
	kind := types.DockerLayer
	if made, err := from.MediaType(); err == nil && made == types.OCIManifestSchema1 {
		kind = types.OCILayer
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(g.Packed)), nil
	}, tarball.WithMediaType(kind))
	if err != nil {
		return nil, err
	}
	image, err := mutate.Append(from, mutate.Addendum{Layer: layer, MediaType: kind})
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, &baked)
}
