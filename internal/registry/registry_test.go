package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	containers "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"keyway/internal/keyway"
)

// serve returns a registry with images of some tags and one list of images.
func serve(t *testing.T) (repo string) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := httptest.NewServer(containers.New(containers.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	repo = strings.TrimPrefix(s.URL, "http://") + "/pytorch/pytorch"
	one, two := build(t, "amd64"), build(t, "arm64")
	for _, tag := range []string{"2.8.0-cuda12.6-cudnn9-devel", "2.7.1-cuda11.8-cudnn9-devel", "2.8.0-cuda12.6-cudnn9-runtime", "nightly"} {
		ref, err := name.NewTag(repo + ":" + tag)
		if err == nil {
			err = remote.Write(ref, one)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	both := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: one, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: two, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	ref, err := name.NewTag(repo + ":both")
	if err == nil {
		err = remote.WriteIndex(ref, both)
	}
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func build(t *testing.T, arch string) v1.Image {
	t.Helper()
	image, err := random.Image(2048, 2)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Architecture, config.OS, config.Config.Env = arch, "linux", []string{"CUDA_VERSION=12.6.3", "FOR=" + arch}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

func TestLook(t *testing.T) {
	repo := serve(t)
	got, err := Look(context.Background(), repo+":2.8.0-cuda12.6-cudnn9-devel", "amd64")
	if err != nil || !reflect.DeepEqual(got.Arch, []string{"amd64"}) || !reflect.DeepEqual(got.Env, []string{"CUDA_VERSION=12.6.3", "FOR=amd64"}) ||
		got.Size < 4096 || !strings.HasPrefix(got.Digest, "sha256:") {
		t.Errorf("%+v, %v", got, err)
	}
	both, err := Look(context.Background(), repo+":both", "arm64")
	if err != nil || !reflect.DeepEqual(both.Arch, []string{"amd64", "arm64"}) || both.Env[1] != "FOR=arm64" {
		t.Errorf("%+v, %v", both, err)
	}
	if none, err := Look(context.Background(), repo+":both", "riscv64"); err != nil || len(none.Arch) != 2 || none.Env != nil {
		t.Errorf("%+v, %v", none, err)
	}
	if again, err := Look(context.Background(), repo+"@"+both.Digest, "amd64"); err != nil || again.Digest != both.Digest {
		t.Errorf("by digest: %+v, %v", again, err)
	}
}

// TestManifestsThatAreNone checks that the sizes in a manifest are accepted within bounds only:
// check compares them with the room at a place, and a pull reserves it.
func TestManifestsThatAreNone(t *testing.T) {
	repo := serve(t)
	domain, path, _ := strings.Cut(repo, "/")
	url := "http://" + domain + "/v2/" + path + "/manifests/"
	got, err := http.Get(url + "nightly")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	honest, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(m *v1.Manifest)
		says   string // empty: it is a manifest
	}{
		"as it is":                {func(*v1.Manifest) {}, ""},
		"the largest layer":       {func(m *v1.Manifest) { m.Layers[0].Size = keyway.MaxLayerSize }, ""},
		"a byte more":             {func(m *v1.Manifest) { m.Layers[1].Size = keyway.MaxLayerSize + 1 }, "layer of"},
		"a layer of 100 TB":       {func(m *v1.Manifest) { m.Layers[0].Size = 100e12 }, "layer of 100000000000000 bytes"},
		"a negative layer":        {func(m *v1.Manifest) { m.Layers[0].Size = -1 }, "layer of -1 bytes"},
		"too many layers":         {func(m *v1.Manifest) { m.Layers = slices.Repeat(m.Layers, keyway.MaxLayers) }, "layers"},
		"too large configuration": {func(m *v1.Manifest) { m.Config.Size = keyway.MaxConfig + 1 }, "configuration"},
		"no size that is known":   {func(m *v1.Manifest) { m.Config.Size = -1 }, "configuration of -1 bytes"},
	} {
		var m v1.Manifest
		if err := json.Unmarshal(honest, &m); err != nil {
			t.Fatal(err)
		}
		c.change(&m)
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		put, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"odd", bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		put.Header.Set("Content-Type", string(m.MediaType))
		answer, err := http.DefaultClient.Do(put)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		_, looked := Look(t.Context(), repo+":odd", "amd64")
		_, found := Find(t.Context(), repo+":odd", "amd64")
		_, fetched := Fetch(t.Context(), repo+":odd", []string{"amd64"})
		for _, err := range []error{looked, found, fetched} {
			if c.says == "" && err != nil || c.says != "" && (!keyway.Is(err, keyway.Untrusted) || !strings.Contains(err.Error(), c.says) || keyway.AsError(err).Help() == "") {
				t.Errorf("%s (%d): %v", what, answer.StatusCode, err)
			}
		}
	}
}

// TestImagesThatWereBuilt checks images that Podman has built, localhost/NAME. No registry has
// them, and none is looked up under an unknown address.
func TestImagesThatWereBuilt(t *testing.T) {
	for image, built := range map[string]bool{"localhost/team:1": true, "localhost/a/b": true, "localhost:1/team:1": false, "127.0.0.1:1/team:1": false} {
		_, err := Look(t.Context(), image, "amd64")
		said := keyway.AsError(err)
		if built && (said.Kind != keyway.ImageNotFound || !strings.Contains(said.Message, "was built where it is") || strings.Contains(said.Message, "443") || said.Help() == "") ||
			!built && said.Kind != keyway.Unreachable {
			t.Errorf("%s: %v", image, err)
		}
	}
}

func TestSameImage(t *testing.T) {
	for b, want := range map[string]bool{"team:1": true, "docker.io/library/team:1": true, "team": false, "other/team:1": false, "localhost/team:1": false, "": false, "Team:1": false} {
		if SameImage("team:1", b) != want || SameImage(b, "team:1") != want {
			t.Errorf("team:1 and %q: want %v", b, want)
		}
	}
}

// TestAWrongTagNamesTheNearest checks that the error for a tag that does not exist names the most
// similar tag. The tags are those of widely copied instructions.
func TestAWrongTagNamesTheNearest(t *testing.T) {
	repo := serve(t)
	for tag, want := range map[string]string{
		"2.8-cuda12.6-devel":            "2.8.0-cuda12.6-cudnn9-devel",
		"2.8.0-cuda12.6-cudnn8-runtime": "2.8.0-cuda12.6-cudnn9-runtime",
		"2.7-cuda11.8-devel":            "2.7.1-cuda11.8-cudnn9-devel",
	} {
		_, err := Look(context.Background(), repo+":"+tag, "amd64")
		said := keyway.AsError(err)
		if !keyway.Is(err, keyway.ImageNotFound) || said.Nearest != repo+":"+want || !strings.Contains(said.Next, want) {
			t.Errorf("%s: %v, nearest %q", tag, err, said.Nearest)
		}
	}
	if _, err := Look(context.Background(), repo+"x:1", "amd64"); !keyway.Is(err, keyway.ImageNotFound) || keyway.AsError(err).Next == "" {
		t.Errorf("no such repository: %v", err)
	}
	if _, err := Look(context.Background(), "127.0.0.1:1/x:1", "amd64"); !keyway.Is(err, keyway.Unreachable) {
		t.Errorf("nobody answers: %v", err)
	}
	if _, err := Look(context.Background(), "Not An Image", "amd64"); !keyway.Is(err, keyway.Usage) {
		t.Errorf("no reference: %v", err)
	}
}

func TestNearIgnoresWhatIsNoTag(t *testing.T) {
	if got := near("1.0", []string{"1.0\x1b[2J", "", "1.0.1", strings.Repeat("1", 200)}); !reflect.DeepEqual(got, []string{"1.0.1"}) {
		t.Errorf("%q", got)
	}
}
