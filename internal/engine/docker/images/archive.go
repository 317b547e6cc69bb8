package images

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

// An image travels as the archive of docker save: a file for each layer, the
// configuration, and manifest.json, which names them.

// Bounds on an archive, which comes from another place.
const (
	maxArchiveEntries = 8 * keyway.MaxLayers
	maxManifest       = 4 << 20 // bytes of manifest.json and of the configuration
)

const manifestName = "manifest.json"

var errNotOne = errors.New("one was expected")

// archiveManifest is one image of manifest.json.
type archiveManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// outline is what an archive is made of.
type outline struct {
	layers  []string        // the files of the layers, the lowest first
	targets map[string]bool // files that others are links to
}

// outlineOf reads an archive to its end.
func outlineOf(archive io.Reader) (outline, error) {
	o := outline{targets: map[string]bool{}}
	found := false
	err := eachEntry(archive, func(h *tar.Header, content io.Reader) error {
		if h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink {
			o.targets[path.Join(path.Dir(h.Name), h.Linkname)] = true
			o.targets[path.Clean(h.Linkname)] = true
		}
		if path.Clean(h.Name) != manifestName {
			return nil
		}
		m, err := readManifest(content)
		found, o.layers = true, m.Layers
		return err
	})
	if err == nil && !found {
		err = errors.New("the archive has no " + manifestName)
	}
	return o, err
}

// eachEntry calls each for all entries of an archive, whose names lead nowhere else.
func eachEntry(archive io.Reader, each func(*tar.Header, io.Reader) error) error {
	r := tar.NewReader(archive)
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == maxArchiveEntries {
			return fmt.Errorf("the archive has over %d entries", maxArchiveEntries)
		}
		if name := path.Clean(h.Name); path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") {
			return fmt.Errorf("the archive has an entry %.100q", h.Name)
		}
		if err := each(h, r); err != nil {
			return err
		}
	}
}

func readManifest(r io.Reader) (archiveManifest, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err != nil {
		return archiveManifest{}, err
	}
	var all []archiveManifest
	if err := json.Unmarshal(data, &all); err != nil || len(all) != 1 || len(all[0].Layers) > keyway.MaxLayers {
		return archiveManifest{}, fmt.Errorf("%s is not that of one image: %w", manifestName, errors.Join(err, errNotOne))
	}
	return all[0], nil
}

// withoutLayers copies an archive without the files of the lowest layers.
func withoutLayers(w io.Writer, archive io.Reader, o outline, lowest int) error {
	dropped := map[string]bool{}
	for _, name := range o.layers[:min(lowest, len(o.layers))] {
		// A layer that is there twice has one file.
		if name = path.Clean(name); !o.targets[name] && !slices.Contains(o.layers[min(lowest, len(o.layers)):], name) {
			dropped[name] = true
		}
	}
	out := tar.NewWriter(w)
	err := eachEntry(archive, func(h *tar.Header, content io.Reader) error {
		if dropped[path.Clean(h.Name)] {
			return nil
		}
		return copyEntry(out, h, content)
	})
	return errors.Join(err, out.Close())
}

func copyEntry(out *tar.Writer, h *tar.Header, content io.Reader) error {
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(out, content)
	return err
}

// otherNames are files of archives that name images, too.
var otherNames = []string{"repositories", "index.json", "oci-layout"}

// named copies an archive from elsewhere so that it makes one image, of that name if any: an
// engine gives an image every name that its archive has, and takes it from what has it.
func named(w io.Writer, archive io.Reader, image string) error {
	out := tar.NewWriter(w)
	found := false
	err := eachEntry(archive, func(h *tar.Header, content io.Reader) error {
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeDir, tar.TypeSymlink:
		default:
			return fmt.Errorf("the archive has an entry %.100q of an odd kind", h.Name)
		}
		name := path.Clean(h.Name)
		if slices.Contains(otherNames, name) {
			return nil
		}
		if name != manifestName {
			return copyEntry(out, h, content)
		}
		if found || h.Typeflag != tar.TypeReg {
			return errors.New("the archive has more than one " + manifestName)
		}
		found = true
		m, err := readManifest(content)
		if err != nil {
			return err
		}
		if m.RepoTags = nil; image != "" {
			m.RepoTags = []string{image}
		}
		text, err := json.Marshal([]archiveManifest{m})
		if err != nil {
			return err
		}
		return copyEntry(out, &tar.Header{Typeflag: tar.TypeReg, Name: manifestName, Mode: 0o644, Size: int64(len(text))}, bytes.NewReader(text))
	})
	if err == nil && !found {
		err = errors.New("the archive has no " + manifestName)
	}
	if err != nil {
		return err // without an end, no engine takes it
	}
	return out.Close()
}
