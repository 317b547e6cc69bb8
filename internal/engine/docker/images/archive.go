package images

import (
	"archive/tar"
	"io"
	"path"
	"slices"

	"keyway/internal/imagetar"
)

// outline is the structure of an archive.
type outline struct {
	layers  []string        // the files of the layers, the lowest first
	targets map[string]bool // files that others link to
}

// outlineOf reads an archive to its end.
func outlineOf(archive io.Reader) (outline, error) {
	o := outline{targets: map[string]bool{}}
	m, err := imagetar.Walk(archive, func(h *tar.Header, _ io.Reader) error {
		if h.Typeflag == tar.TypeSymlink {
			o.targets[path.Join(path.Dir(h.Name), h.Linkname)] = true
		}
		return nil
	})
	o.layers = m.Layers
	return o, err
}

// withoutLayers copies an archive without the files of the lowest layers.
func withoutLayers(w io.Writer, archive io.Reader, o outline, lowest int) error {
	dropped := map[string]bool{}
	for _, name := range o.layers[:min(lowest, len(o.layers))] {
		// Two equal layers have one file.
		if name = path.Clean(name); !o.targets[name] && !slices.Contains(o.layers[min(lowest, len(o.layers)):], name) {
			dropped[name] = true
		}
	}
	out := tar.NewWriter(w)
	m, err := imagetar.Walk(archive, func(h *tar.Header, content io.Reader) error {
		if dropped[h.Name] {
			return nil
		}
		return imagetar.Copy(out, h, content)
	})
	if err != nil {
		return err
	}
	return m.End(out)
}

// named copies a foreign archive so that it yields one image, with that name if it is not empty. An
// engine gives an image every name in its archive, and takes the name away from the image that had
// it.
func named(w io.Writer, archive io.Reader, image string) error {
	out := tar.NewWriter(w)
	m, err := imagetar.Walk(archive, imagetar.Unnamed(out))
	if err != nil {
		return err
	}
	if m.RepoTags = nil; image != "" {
		m.RepoTags = []string{image}
	}
	return m.End(out)
}
