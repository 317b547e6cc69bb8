package bake

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"keyway/internal/keyway"
)

// Bounds on an archive of docker save, which comes from a place.
const (
	maxEntries = 8 * keyway.MaxLayers
	maxText    = 4 << 20 // bytes of a file that may be the manifest or the configuration
	maxTexts   = 64      // such files that are kept
)

const manifestName = "manifest.json"

// otherNames are files of archives that name images, too.
var otherNames = []string{manifestName, "repositories", "index.json", "oci-layout"}

type manifest struct {
	Config   string
	RepoTags []string `json:",omitempty"`
	Layers   []string
}

// Baked is what came out.
type Baked struct {
	ID     string   // sha256:… of its configuration
	Base   string   // that of the base
	Layers []string // sha256:… of the content of each, the lowest first
}

// Write writes the image as an archive of which only the guest's layer is a file: those
// of the base, whose configuration it is given, are only named. An engine that has them
// takes it.
func (g Guest) Write(w io.Writer, tag string, base Base, config []byte) (Baked, error) {
	ids, err := layersOf(config)
	if err != nil {
		return Baked{}, err
	}
	m := manifest{}
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
	out, texts := tar.NewWriter(w), map[string][]byte{}
	files := tar.NewReader(archive)
	for n := 0; ; n++ {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Baked{}, err
		}
		if n == maxEntries {
			return Baked{}, fmt.Errorf("the archive of %s has over %d entries", base.Reference, maxEntries)
		}
		if err := copyEntry(out, h, files, texts); err != nil {
			return Baked{}, err
		}
	}
	var all []manifest
	if err := json.Unmarshal(texts[manifestName], &all); err != nil || len(all) != 1 || len(all[0].Layers) > keyway.MaxLayers {
		return Baked{}, fmt.Errorf("the archive of %s is not that of one image", base.Reference)
	}
	config, ok := texts[path.Clean(all[0].Config)]
	if !ok {
		return Baked{}, fmt.Errorf("the archive of %s has no configuration", base.Reference)
	}
	return g.finish(out, tag, base, config, all[0])
}

// copyEntry copies an entry, but for those that name images, and keeps what may describe
// the image. Which file that is, the archive says at any point.
func copyEntry(out *tar.Writer, h *tar.Header, content io.Reader, texts map[string][]byte) error {
	name := path.Clean(h.Name)
	if h.Typeflag == tar.TypeReg && h.Size <= maxText && (name == manifestName || len(texts) < maxTexts && !strings.HasSuffix(name, ".tar")) {
		text, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		texts[name], content = text, bytes.NewReader(text)
	}
	if slices.Contains(otherNames, name) {
		return nil
	}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(out, content)
	return err
}

// finish adds to an archive of the base what makes it the baked image.
func (g Guest) finish(out *tar.Writer, tag string, base Base, config []byte, m manifest) (Baked, error) {
	baked, err := g.Config(base, config)
	if err != nil {
		return Baked{}, err
	}
	ids, err := layersOf(baked)
	if err != nil {
		return Baked{}, err
	}
	id := digest(baked)
	m.Config, m.RepoTags = strings.TrimPrefix(id, "sha256:")+".json", []string{tag}
	m.Layers = append(m.Layers, strings.TrimPrefix(g.Digest, "sha256:")+".tar")
	if len(ids) != len(m.Layers) {
		return Baked{}, fmt.Errorf("the archive of %s has %d layers, and its configuration has %d", base.Reference, len(m.Layers)-1, len(ids)-1)
	}
	text, err := json.Marshal([]manifest{m})
	if err != nil {
		return Baked{}, err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{m.Layers[len(m.Layers)-1], g.Packed}, {m.Config, baked}, {manifestName, text}} {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.data))}); err != nil {
			return Baked{}, err
		}
		if _, err := out.Write(f.data); err != nil {
			return Baked{}, err
		}
	}
	return Baked{ID: id, Base: digest(config), Layers: ids}, out.Close()
}
