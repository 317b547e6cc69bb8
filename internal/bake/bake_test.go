package bake

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"keyway/internal/keyway"
	"keyway/test/imagetars"
)

var program = []byte("\x7fELF the guest")

const reference, tag = "team/model:1", "team/model:ssh"

func newGuest(t testing.TB) Guest {
	t.Helper()
	g, err := NewGuest("amd64", program)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// baseImage returns a hostile image, which tries to choose the keys that may enter, and the user.
func baseImage(t testing.TB) v1.Image {
	t.Helper()
	image, err := random.Image(2000, 3)
	if err == nil {
		image, err = mutate.ConfigFile(image, hostile(t, image))
	}
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func hostile(t testing.TB, image v1.Image) *v1.ConfigFile {
	t.Helper()
	c, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Created = "linux", "amd64", v1.Time{Time: time.Unix(1e9, 0).UTC()}
	c.Config = v1.Config{
		User: "1000", WorkingDir: "/work", Entrypoint: []string{"/evil"}, Cmd: []string{"x"},
		Env:         []string{"PATH=/bin", "KEYWAY_AUTHORIZED_KEYS=ssh-ed25519 AAAA evil", "KEYWAY_PORT=1", "KEYWAYS=stay"},
		Healthcheck: &v1.HealthConfig{Test: []string{"CMD", "/evil"}},
		Labels:      map[string]string{"a": "b", LabelBaseDigest: "sha256:of another", LabelGuest: "none"},
	}
	return c
}

func rawConfig(t testing.TB, image v1.Image) []byte {
	t.Helper()
	raw, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestNothingOfTheBaseDecides checks that the base image chooses neither the keys that may enter
// nor the program that starts.
func TestNothingOfTheBaseDecides(t *testing.T) {
	raw := rawConfig(t, baseImage(t))
	out, err := newGuest(t).Config(Base{Reference: reference}, raw)
	if err != nil {
		t.Fatal(err)
	}
	var c v1.ConfigFile
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/.keyway/bin/keyway-guest", "sshd"}; !slices.Equal(c.Config.Entrypoint, want) || c.Config.Cmd != nil || c.Config.Healthcheck != nil {
		t.Errorf("it starts %q %q, and checks %v", c.Config.Entrypoint, c.Config.Cmd, c.Config.Healthcheck)
	}
	if want := []string{"PATH=/bin", "KEYWAYS=stay"}; !slices.Equal(c.Config.Env, want) {
		t.Errorf("its variables are %q", c.Config.Env)
	}
	if c.Config.User != "1000" || c.Config.WorkingDir != "/work" || c.Config.Labels["a"] != "b" {
		t.Errorf("what was the base's is lost: %+v", c.Config)
	}
	if l := c.Config.Labels; l[LabelBase] != reference || l[LabelBaseID] != digest(raw) || l[LabelGuest] != digest(program) || l[LabelBaseDigest] != "" {
		t.Errorf("its labels are %q", l)
	}
}

// TestLayerHidesTheBase checks that the base's files in the guest's directory are hidden.
func TestLayerHidesTheBase(t *testing.T) {
	files, err := layer(program)
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]int64{}
	for r := tar.NewReader(bytes.NewReader(files)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%s is of uid %d, of %v", h.Name, h.Uid, h.ModTime)
		}
		modes[h.Name] = h.Mode
	}
	want := map[string]int64{
		".keyway/": 0o1777, ".keyway/.wh..wh..opq": 0o644, ".keyway/bin/": 0o755, ".keyway/bin/keyway": 0o777,
		".keyway/bin/scp": 0o777, ".keyway/bin/keyway-guest": 0o755,
	}
	for name, mode := range want {
		if modes[name] != mode {
			t.Errorf("%s has mode %#o", name, modes[name])
		}
	}
	if len(modes) != len(want) {
		t.Errorf("it has %v", modes)
	}
}

// TestSameEverywhere checks that an engine, a registry and a file get the same image, each time.
func TestSameEverywhere(t *testing.T) {
	base := baseImage(t)
	for what, from := range map[string]v1.Image{"Docker": base, "OCI": mutate.MediaType(base, types.OCIManifestSchema1)} {
		t.Run(what, func(t *testing.T) {
			named := Base{Reference: reference, Digest: "sha256:" + strings.Repeat("a", 64)}
			image, err := newGuest(t).Image(named, from)
			if err != nil {
				t.Fatal(err)
			}
			sound(t, image)
			id, err := image.ConfigName()
			if err != nil {
				t.Fatal(err)
			}
			var whole, part, file bytes.Buffer
			made, err := newGuest(t).Rewrite(&whole, saved(t, from), tag, named)
			if err != nil || made.ID != id.String() {
				t.Errorf("by an archive it is %s, and in a registry %s: %v", made.ID, id, err)
			}
			onlyNamed, err := newGuest(t).Write(&part, tag, named, rawConfig(t, from))
			if err != nil || onlyNamed.ID != made.ID || !slices.Equal(onlyNamed.Layers, made.Layers) || part.Len() > 10_000 {
				t.Errorf("without the base's layers it is %+v, in %d bytes: %v", onlyNamed, part.Len(), err)
			}
			if err := Save(&file, tag, image); err != nil {
				t.Fatal(err)
			}
			for what, archive := range map[string][]byte{"rewritten": whole.Bytes(), "saved": file.Bytes()} {
				loaded, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }, tagOf(t))
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				sound(t, loaded)
				if got, err := loaded.ConfigName(); err != nil || got != id {
					t.Errorf("%s: %s, %v", what, got, err)
				}
			}
			if again, err := newGuest(t).Image(named, from); err != nil || manifestOf(t, again) != manifestOf(t, image) {
				t.Errorf("the second time it is another: %v", err)
			}
		})
	}
}

// sound fails unless the image has the layers that its configuration names.
func sound(t *testing.T, image v1.Image) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != len(config.RootFS.DiffIDs) || len(layers) != len(config.History) {
		t.Fatalf("%d layers, %d are named, in %d steps: %v", len(layers), len(config.RootFS.DiffIDs), len(config.History), err)
	}
	for i, l := range layers {
		files, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(files)
		if err = errors.Join(err, files.Close()); err != nil || digest(data) != config.RootFS.DiffIDs[i].String() {
			t.Errorf("layer %d is %s: %v", i, digest(data), err)
		}
	}
}

func tagOf(t *testing.T) *name.Tag {
	t.Helper()
	n, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	return &n
}

func manifestOf(t *testing.T, image v1.Image) string {
	t.Helper()
	m, err := image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	return string(m)
}

func saved(t testing.TB, image v1.Image) io.Reader {
	t.Helper()
	var b bytes.Buffer
	if err := Save(&b, reference, image); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestImagesThatAreRefused checks that each refusal has a sentence of its own.
func TestImagesThatAreRefused(t *testing.T) {
	change := func(f func(*v1.ConfigFile)) []byte {
		c := hostile(t, baseImage(t))
		f(c)
		raw, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for want, config := range map[string][]byte{
		"is for linux/arm64, and":   change(func(c *v1.ConfigFile) { c.Architecture = "arm64" }),
		"is for windows/amd64, and": change(func(c *v1.ConfigFile) { c.OS = "windows" }),
		"declares a volume at":      change(func(c *v1.ConfigFile) { c.Config.Volumes = map[string]struct{}{"/x/../.keyway/bin": {}} }),
		"the configuration of":      []byte("{"),
		"is over":                   bytes.Repeat([]byte(" "), keyway.MaxConfig+1),
	} {
		if _, err := newGuest(t).Config(Base{Reference: reference}, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// soundConfig returns a configuration for imagetars.Sound.
func soundConfig(t testing.TB) string {
	t.Helper()
	image, err := random.Image(100, 2)
	if err != nil {
		t.Fatal(err)
	}
	if image, err = mutate.ConfigFile(image, hostile(t, image)); err != nil {
		t.Fatal(err)
	}
	return string(rawConfig(t, image))
}

func TestArchivesThatAreRefused(t *testing.T) {
	config := soundConfig(t)
	if _, err := newGuest(t).Rewrite(io.Discard, bytes.NewReader(imagetars.Sound(t, config)), tag, Base{Reference: reference}); err != nil {
		t.Fatal(err)
	}
	hostile := imagetars.Hostile(t, config)
	hostile["no configuration"] = imagetars.Of(t, "manifest.json", `[{"Config":"c.json","Layers":["a","b"]}]`)
	hostile["fewer layers"] = imagetars.Of(t, "c.json", config, "manifest.json", `[{"Config":"c.json","Layers":["a"]}]`)
	for what, archive := range hostile {
		if made, err := newGuest(t).Rewrite(io.Discard, bytes.NewReader(archive), tag, Base{Reference: reference}); err == nil {
			t.Errorf("%s: %+v", what, made)
		}
	}
}

// TestAnArchiveNamesOneImage checks that other images that a place's archive names stay unchanged.
func TestAnArchiveNamesOneImage(t *testing.T) {
	config := string(rawConfig(t, baseImage(t)))
	var out bytes.Buffer
	archive := imagetars.Of(t, "c.json", config, "repositories", "{}", "./index.json", "{}", "oci-layout", "{}",
		"manifest.json", `[{"Config":"c.json","RepoTags":["evil:1"],"Layers":["a","b","c"]}]`)
	if _, err := newGuest(t).Rewrite(&out, bytes.NewReader(archive), tag, Base{Reference: reference}); err != nil {
		t.Fatal(err)
	}
	if seen := imagetars.Names(t, out.Bytes()); len(seen) != 4 || seen[0] != "c.json" || seen[3] != "manifest.json" || bytes.Contains(out.Bytes(), []byte("evil:1")) {
		t.Errorf("it has %q", seen)
	}
}

func TestPackedLayer(t *testing.T) {
	g := newGuest(t)
	z, err := gzip.NewReader(bytes.NewReader(g.Packed))
	if err != nil {
		t.Fatal(err)
	}
	if files, err := io.ReadAll(z); err != nil || digest(files) != g.DiffID || digest(g.Packed) != g.Digest || digest(program) != g.Program {
		t.Errorf("%v", err)
	}
}

func FuzzRewrite(f *testing.F) {
	config := string(rawConfig(f, baseImage(f)))
	f.Add(imagetars.Of(f, "c.json", config, "manifest.json", `[{"Config":"c.json","Layers":["a","b","c"]}]`))
	g := newGuest(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		made, err := g.Rewrite(&out, bytes.NewReader(data), tag, Base{Reference: reference})
		if err == nil && (!keyway.IsDigest(made.ID) || made.Layers[len(made.Layers)-1] != g.DiffID) {
			t.Errorf("%+v", made)
		}
	})
}
