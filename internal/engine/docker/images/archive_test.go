package images

import (
	"archive/tar"
	"bytes"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"keyway/internal/imagetar"
	"keyway/test/imagetars"
)

const twoLayers = `[{"Config":"c.json","RepoTags":["evil:1","other:2"],"Layers":["a/layer.tar","b/layer.tar"]}]`

// manifestOf returns the manifest of an archive that was made here.
func manifestOf(t testing.TB, archive []byte) imagetar.Manifest {
	t.Helper()
	m, err := imagetar.Walk(bytes.NewReader(archive), imagetar.Skip)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestNamedArchive(t *testing.T) {
	archive := imagetars.Of(t, "a/layer.tar", "1", "b/layer.tar", "2", "c.json", "{}", "repositories", `{"evil":{}}`, "./index.json", "{}", "oci-layout", "{}", "./manifest.json", twoLayers)
	for image, names := range map[string][]string{"docker.io/library/good:1": {"docker.io/library/good:1"}, "": nil} {
		var out bytes.Buffer
		if err := named(&out, bytes.NewReader(archive), image); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(imagetars.Names(t, out.Bytes()), " "); got != "a/layer.tar b/layer.tar c.json manifest.json" {
			t.Errorf("the archive has %s", got)
		}
		if m := manifestOf(t, out.Bytes()); !slices.Equal(m.RepoTags, names) || len(m.Layers) != 2 || m.Config != "c.json" {
			t.Errorf("it calls itself %+v", m)
		}
	}
}

// TestHostileArchives checks that hostile archives, from elsewhere or from the daemon, are refused,
// and that none seems complete.
func TestHostileArchives(t *testing.T) {
	for what, archive := range imagetars.Hostile(t, "{}") {
		var in, less bytes.Buffer
		if err := named(&in, bytes.NewReader(archive), "good:1"); err == nil {
			t.Errorf("%s: it is taken in", what)
		}
		if o, err := outlineOf(bytes.NewReader(archive)); err == nil {
			t.Errorf("%s: it has %v", what, o)
		}
		if err := withoutLayers(&less, bytes.NewReader(archive), outline{}, 0); err == nil {
			t.Errorf("%s: it is given away", what)
		}
		for _, out := range [][]byte{in.Bytes(), less.Bytes()} {
			if _, err := imagetar.Walk(bytes.NewReader(out), imagetar.Skip); err == nil {
				t.Errorf("%s: what was made of it is whole", what)
			}
		}
	}
}

func TestWithoutLayers(t *testing.T) {
	two := imagetars.Of(t, "a/layer.tar", "1", "b/layer.tar", "2", "manifest.json", twoLayers)
	linked := imagetars.Pack(t, imagetars.Entry{Name: "a/layer.tar", Text: "1"},
		imagetars.Entry{Name: "b/layer.tar", Kind: tar.TypeSymlink, Link: "../a/layer.tar"}, imagetars.Entry{Name: "manifest.json", Text: twoLayers})
	for name, c := range map[string]struct {
		archive []byte
		lowest  int
		want    string
	}{
		"one of two":  {two, 1, "b/layer.tar manifest.json"},
		"all":         {two, 9, "manifest.json"},
		"none":        {two, 0, "a/layer.tar b/layer.tar manifest.json"},
		"linked":      {linked, 1, "a/layer.tar b/layer.tar manifest.json"},
		"there twice": {imagetars.Of(t, "a/layer.tar", "1", "manifest.json", `[{"Layers":["a/layer.tar","a/layer.tar"]}]`), 1, "a/layer.tar manifest.json"},
	} {
		o, err := outlineOf(bytes.NewReader(c.archive))
		var out bytes.Buffer
		if err == nil {
			err = withoutLayers(&out, bytes.NewReader(c.archive), o, c.lowest)
		}
		if err != nil {
			t.Fatal(name, err)
		}
		if all := imagetars.Names(t, out.Bytes()); strings.Join(all, " ") != c.want {
			t.Errorf("%s: %q", name, all)
		}
		if got, want := manifestOf(t, out.Bytes()), manifestOf(t, c.archive); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// FuzzArchive feeds arbitrary archives. Those that reach an engine have one image with one
// name.
func FuzzArchive(f *testing.F) {
	f.Add(imagetars.Of(f, "a/layer.tar", "1", "manifest.json", twoLayers))
	f.Add([]byte("junk"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		if o, err := outlineOf(bytes.NewReader(archive)); err == nil {
			_ = withoutLayers(io.Discard, bytes.NewReader(archive), o, 1)
		}
		var out bytes.Buffer
		if named(&out, bytes.NewReader(archive), "good:1") != nil {
			return
		}
		if m := manifestOf(t, out.Bytes()); !slices.Equal(m.RepoTags, []string{"good:1"}) {
			t.Errorf("it calls itself %q", m.RepoTags)
		}
	})
}
