package bake

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"keyway/internal/imagetar"
)

// Baked describes the result.
type Baked struct {
	ID     string   // sha256:… of its configuration
	Base   string   // that of the base
	Layers []string // sha256:… of the content of each, the lowest first
}

// Write writes the image as an archive in which only the guest's layer is a file: those
// of the base, whose configuration it is given, are only named. An engine that has them
// takes it.
func (g Guest) Write(w io.Writer, tag string, base Base, config []byte) (Baked, error) {
	ids, err := layersOf(config)
	if err != nil {
		return Baked{}, err
	}
	m := imagetar.Manifest{}
	for _, id := range ids {
		m.Layers = append(m.Layers, strings.TrimPrefix(id, "sha256:")+".tar")
	}
	return g.finish(tar.NewWriter(w), tag, base, config, m)
}

// layersOf returns the digests of the layers' contents in an image's configuration, the
// lowest first.
func layersOf(config []byte) ([]string, error) {
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	err := json.Unmarshal(config, &c)
	return c.RootFS.DiffIDs, err
}

// Rewrite copies an archive of the base and makes the baked image of it.
func (g Guest) Rewrite(w io.Writer, archive io.Reader, tag string, base Base) (Baked, error) {
	out := tar.NewWriter(w)
	m, config, err := imagetar.Describe(archive, imagetar.Unnamed(out))
	if err != nil {
		return Baked{}, fmt.Errorf("cannot read the archive of %s: %w", base.Reference, err)
	}
	return g.finish(out, tag, base, config, m)
}

// finish adds to an archive of the base what makes it the baked image.
func (g Guest) finish(out *tar.Writer, tag string, base Base, config []byte, m imagetar.Manifest) (Baked, error) {
	baked, err := g.Config(base, config)
	if err != nil {
		return Baked{}, err
	}
	ids, err := layersOf(baked)
	if err != nil {
		return Baked{}, err
	}
	id := digest(baked)
	layer := strings.TrimPrefix(g.Digest, "sha256:") + ".tar"
	m.Config, m.RepoTags, m.Layers = strings.TrimPrefix(id, "sha256:")+".json", []string{tag}, append(m.Layers, layer)
	if len(ids) != len(m.Layers) {
		return Baked{}, fmt.Errorf("the archive of %s has %d layers, and its configuration has %d", base.Reference, len(m.Layers)-1, len(ids)-1)
	}
	if err := imagetar.Add(out, layer, int64(len(g.Packed)), bytes.NewReader(g.Packed)); err != nil {
		return Baked{}, err
	}
	if err := imagetar.Add(out, m.Config, int64(len(baked)), bytes.NewReader(baked)); err != nil {
		return Baked{}, err
	}
	return Baked{ID: id, Base: digest(config), Layers: ids}, m.End(out)
}
