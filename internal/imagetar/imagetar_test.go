package imagetar_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"keyway/internal/imagetar"
	"keyway/test/imagetars"
)

func TestHostileArchives(t *testing.T) {
	if m, config, err := imagetar.Describe(bytes.NewReader(imagetars.Sound(t, "{}")), imagetar.Skip); err != nil || string(config) != "{}" || len(m.Layers) != 2 {
		t.Fatalf("%+v, %q, %v", m, config, err)
	}
	for what, archive := range imagetars.Hostile(t, "{}") {
		if m, err := imagetar.Walk(bytes.NewReader(archive), imagetar.Skip); err == nil {
			t.Errorf("%s: %+v", what, m)
		}
	}
}

// TestNamesAreGivenShort checks that the checked name is the one that is used: without ./, doubled
// slashes and double dots.
func TestNamesAreGivenShort(t *testing.T) {
	var names []string
	archive := imagetars.Pack(t, imagetars.Entry{Name: "./", Kind: tar.TypeDir}, imagetars.Entry{Name: "a//b/../c/", Kind: tar.TypeDir}, imagetars.Entry{Name: "./manifest.json", Text: "[{}]"})
	if _, err := imagetar.Walk(bytes.NewReader(archive), func(h *tar.Header, _ io.Reader) error {
		names = append(names, h.Name)
		return nil
	}); err != nil || !slices.Equal(names, []string{".", "a/c"}) {
		t.Errorf("%q, %v", names, err)
	}
}

// TestConfigurations checks that the configuration is found among the files of an image with as
// many layers as engines allow, and that the last file of its name counts.
func TestConfigurations(t *testing.T) {
	// As Docker has named them since 25: the name does not tell that a file is a layer.
	files := []string{"manifest.json", `[{"Config":"blobs/sha256/c","Layers":[]}]`}
	for i := range 127 {
		files = append(files, fmt.Sprintf("blobs/sha256/%d", i), strings.Repeat("layer", 1000), fmt.Sprintf("blobs/sha256/%d.old", i), `{"old":true}`)
	}
	for what, c := range map[string]struct {
		more []string
		want string
	}{
		"the last of all": {[]string{"blobs/sha256/c", "{}"}, "{}"},
		"there twice":     {[]string{"blobs/sha256/c", `{"a":1}`, "./blobs/sha256/c", `{"b":1}`}, `{"b":1}`},
		"none":            {nil, ""},
		"hidden":          {[]string{"blobs/sha256/c", "{}", "blobs/sha256/c", "layer"}, ""},
		"too big":         {[]string{"blobs/sha256/c", "{" + strings.Repeat(" ", imagetar.MaxText)}, ""},
	} {
		_, config, err := imagetar.Describe(bytes.NewReader(imagetars.Of(t, append(slices.Clone(files), c.more...)...)), imagetar.Skip)
		if string(config) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %.100q, %v", what, config, err)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add(imagetars.Sound(f, "{}"))
	f.Add([]byte("junk"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		m, config, err := imagetar.Describe(bytes.NewReader(archive), imagetar.Unnamed(w))
		if err != nil {
			return
		}
		if err := m.End(w); err != nil {
			t.Fatal(err)
		}
		if _, again, err := imagetar.Describe(&out, imagetar.Skip); err != nil || !bytes.Equal(again, config) {
			t.Errorf("copied, it has %q, not %q: %v", again, config, err)
		}
	})
}
