//go:build unix

package node

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/catalogue"
	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// fakeKeeper records the images that it receives, and those that it has to pull.
type fakeKeeper struct {
	fakeEngine
	imported []string
	pulled   []string
}

func (f *fakeKeeper) ImageLayers(context.Context, string) (keyway.ImageLayers, error) {
	return keyway.ImageLayers{}, nil
}
func (f *fakeKeeper) HaveLayers(context.Context, []string) (int, error) { return 0, nil }
func (f *fakeKeeper) ExportImage(context.Context, string, int) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("")), nil
}

func (f *fakeKeeper) ImportImage(_ context.Context, image string, _ io.Reader) error {
	f.imported = append(f.imported, image)
	return nil
}
func (f *fakeKeeper) SameName(a, b string) bool         { return "x/"+a == b || a == b }
func (f *fakeKeeper) ForgetsParts(context.Context) bool { return true }
func (f *fakeKeeper) PullImage(_ context.Context, image string, _ keyway.Login, _ func(keyway.Progress)) error {
	f.pulled = append(f.pulled, image)
	return nil
}

// TestNoUserGivesATemplatesNameToAnImage checks that no user can assign the name of a template's
// image without a digest: by a copy, by a baked image or by a laptop's report of a registry.
func TestNoUserGivesATemplatesNameToAnImage(t *testing.T) {
	for what, c := range map[string]struct {
		of       string // the image that the template names
		only     bool
		image    string
		refused  string // empty: it is accepted
		believed bool   // the laptop's report about it in a pull
	}{
		"the name":              {of: "team:1", image: "team:1", refused: "template train is made of what is called team:1"},
		"another word for it":   {of: "team:1", image: "x/team:1", refused: "called x/team:1"},
		"another name":          {of: "team:1", image: "team:2", believed: true},
		"a digest is no name":   {of: "team@sha256:" + strings.Repeat("0", 64), image: "team:1", believed: true},
		"with --only, another":  {of: "team:1", only: true, image: "mine:1", refused: "takes no images of users", believed: true},
		"with --only, the name": {of: "team:1", only: true, image: "team:1", refused: "template train is made of"},
	} {
		f := &fakeKeeper{fakeEngine: fakeEngine{name: keyway.EngineDocker}}
		n := New(engine.HomesIn(t.TempDir()), nil, f)
		n.published = aShelf(t)
		tmpl := catalogue.Template{Format: catalogue.Format, Name: "train", Only: c.only, Spec: keyway.Spec{Image: c.of}}
		tmpl.Spec.Template = "train"
		data, err := json.Marshal(tmpl)
		if err == nil {
			err = os.WriteFile(filepath.Join(n.published.dir, "train.json"), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		err = n.ImportImage(t.Context(), keyway.EngineDocker, c.image, strings.NewReader("archive"))
		if c.refused == "" && (err != nil || len(f.imported) != 1) ||
			c.refused != "" && (!keyway.Is(err, keyway.NotAllowed) || !strings.Contains(err.Error(), c.refused) || keyway.AsError(err).Help() == "" || len(f.imported) != 0) {
			t.Errorf("%s: %v, want %q; taken: %q", what, err, c.refused, f.imported)
		}
		told := keyway.Pull{Image: c.image, Repository: "ftp://nobody.invalid", Config: []byte("{}"), Layers: []keyway.Layer{{Size: 1}}}
		if err := n.PullImage(t.Context(), keyway.EngineDocker, told, func(keyway.Progress) {}); (err != nil) != c.believed || (len(f.pulled) == 0) != c.believed {
			t.Errorf("%s, pulled: %v, %q", what, err, f.pulled)
		}
		if err := os.Chmod(n.published.dir, 0o777); err != nil {
			t.Fatal(err)
		}
		f.imported, f.pulled = nil, nil
		err, bad := n.ImportImage(t.Context(), keyway.EngineDocker, c.image, strings.NewReader("archive")), n.PullImage(t.Context(), keyway.EngineDocker, told, func(keyway.Progress) {})
		if !keyway.Is(err, keyway.BadConfig) || !keyway.Is(bad, keyway.BadConfig) || len(f.imported)+len(f.pulled) > 0 {
			t.Errorf("%s, by templates that are not believed: %v, %v", what, err, bad)
		}
	}
}
