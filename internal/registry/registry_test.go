package registry

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"reflect"
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

// serve is a registry with images of some tags and one list of images.
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

// TestAWrongTagNamesTheNearest has the tag of a recipe that many people copy, which
// never existed.
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
