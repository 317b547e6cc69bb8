// Package imagetar reads and writes the archives of docker save: a file for each layer, the image's
// configuration, and manifest.json, which names them. An archive may come from any user. So it is
// read within bounds, must have one manifest of one image, and may have no entry with a path
// outside of the archive. Begin with Walk and Manifest.
package imagetar

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"keyway/internal/keyway"
)

// Bounds on an archive.
const (
	MaxEntries = 8 * keyway.MaxLayers
	MaxText    = 4 << 20  // bytes of the manifest, and of the configuration
	maxTexts   = 64 << 20 // bytes of all files that are kept because one may be the configuration
)

const manifestName = "manifest.json"

// Manifest is the description of the image in manifest.json. All names are those of entries.
type Manifest struct {
	Config   string
	RepoTags []string `json:",omitempty"`
	Layers   []string // the lowest first
}

// Walk calls each for the entries of an archive, except the manifest, which it returns. Names
// are in their shortest form. Content that each does not read is skipped.
func Walk(archive io.Reader, each func(h *tar.Header, content io.Reader) error) (m Manifest, err error) {
	found := false
	r := tar.NewReader(archive)
	for n := 0; ; n++ {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF) && found:
			return m, nil
		case errors.Is(err, io.EOF):
			return m, fmt.Errorf("the archive has no %s", manifestName)
		case err != nil:
			return m, err
		case n == MaxEntries:
			return m, fmt.Errorf("the archive has over %d entries", MaxEntries)
		}
		if err := check(h); err != nil {
			return m, err
		}
		switch {
		case h.Name != manifestName:
			err = each(h, r)
		case found:
			err = fmt.Errorf("the archive has more than one %s", manifestName)
		default:
			found = true
			m, err = readManifest(h, r)
		}
		if err != nil {
			return m, err
		}
	}
}

// check shortens the name of an entry, and refuses one that docker save does not make.
func check(h *tar.Header) error {
	given := h.Name
	h.Name = path.Clean(given)
	leads := "."
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeSymlink:
		if leads = path.Join(path.Dir(h.Name), h.Linkname); path.IsAbs(h.Linkname) {
			leads = h.Linkname
		}
	default:
		return fmt.Errorf("the archive has an entry %.100q of an odd kind", given)
	}
	if !fs.ValidPath(h.Name) || !fs.ValidPath(leads) {
		return fmt.Errorf("the archive has an entry %.100q, which leads elsewhere", given)
	}
	return nil
}

func readManifest(h *tar.Header, content io.Reader) (Manifest, error) {
	if h.Typeflag != tar.TypeReg || h.Size > MaxText {
		return Manifest{}, fmt.Errorf("%s is not a file of at most %d bytes", manifestName, MaxText)
	}
	text, err := io.ReadAll(content)
	if err != nil {
		return Manifest{}, err
	}
	var all []Manifest
	if err := json.Unmarshal(text, &all); err != nil || len(all) != 1 || len(all[0].Layers) > keyway.MaxLayers {
		return Manifest{}, fmt.Errorf("%s is not that of one image", manifestName)
	}
	return all[0], nil
}

// Describe is Walk, but also returns the image's configuration. The archive may name that file at
// any point, so files that could be it are kept until then.
func Describe(archive io.Reader, each func(h *tar.Header, content io.Reader) error) (Manifest, []byte, error) {
	texts, room := map[string][]byte{}, int64(maxTexts)
	m, err := Walk(archive, func(h *tar.Header, content io.Reader) error {
		delete(texts, h.Name) // the last of a name counts
		if h.Typeflag == tar.TypeReg && h.Size <= min(MaxText, room) {
			r := bufio.NewReader(content)
			content = r
			if first, err := r.Peek(1); err == nil && first[0] == '{' { // unlike a layer
				text, err := io.ReadAll(r)
				if err != nil {
					return err
				}
				texts[h.Name], content = text, bytes.NewReader(text)
				room -= h.Size
			}
		}
		return each(h, content)
	})
	if err != nil {
		return m, nil, err
	}
	config, ok := texts[path.Clean(m.Config)]
	if !ok {
		return m, nil, errors.New("the archive has no configuration")
	}
	return m, config, nil
}

// Skip is an argument of Walk and Describe for callers that do not want the entries.
func Skip(*tar.Header, io.Reader) error { return nil }

// otherNames are files of archives that name images, beside the manifest.
var otherNames = []string{"repositories", "index.json", "oci-layout"}

// Unnamed returns what copies the entries of an archive that name no image.
func Unnamed(out *tar.Writer) func(h *tar.Header, content io.Reader) error {
	return func(h *tar.Header, content io.Reader) error {
		if slices.Contains(otherNames, h.Name) {
			return nil
		}
		return Copy(out, h, content)
	}
}

// Copy copies an entry.
func Copy(out *tar.Writer, h *tar.Header, content io.Reader) error {
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(out, content)
	return err
}

// Add adds a file.
func Add(out *tar.Writer, name string, size int64, content io.Reader) error {
	return Copy(out, &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}, content)
}

// End adds the manifest, and ends the archive. Without an end, no engine takes it.
func (m Manifest) End(out *tar.Writer) error {
	text, err := json.Marshal([]Manifest{m})
	if err == nil {
		err = Add(out, manifestName, int64(len(text)), bytes.NewReader(text))
	}
	if err != nil {
		return err
	}
	return out.Close()
}
