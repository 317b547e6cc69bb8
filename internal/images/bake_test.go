package images

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	containers "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"keyway/internal/api"
	"keyway/internal/bake"
	"keyway/internal/keyway"
)

const bakedTag = "team/model:ssh"

// engine is a place with one image, and the images that it receives.
type engine struct {
	api.Node
	base   v1.Image
	sparse bool                      // it has the base's layers, and requests no files of them
	lie    func(*keyway.ImageLayers) // changes its answers about the baked image; nil: it is honest
	got    []byte                    // the archive that it was given

	manifests bool // it gives images IDs by their manifests, as containerd does
}

func layersOf(image v1.Image) (l keyway.ImageLayers, err error) {
	c, err := image.ConfigFile()
	if err != nil {
		return l, err
	}
	id, err := image.ConfigName()
	config, configErr := image.RawConfigFile()
	err = errors.Join(err, configErr)
	l.ID, l.ConfigHash, l.Arch = id.String(), keyway.ConfigHash(config), c.Architecture
	for _, d := range c.RootFS.DiffIDs {
		l.Layers = append(l.Layers, d.String())
	}
	return l, err
}

func (e *engine) ImageLayers(_ context.Context, _, image string) (keyway.ImageLayers, error) {
	if image != bakedTag {
		l, err := layersOf(e.base)
		return e.called(l, e.base), err
	}
	loaded, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(e.got)), nil }, nil)
	if err != nil {
		return keyway.ImageLayers{}, keyway.Errorf(keyway.ImageNotFound, "nothing was loaded: %w", err)
	}
	l, err := layersOf(loaded)
	l = e.called(l, loaded)
	if e.lie != nil {
		e.lie(&l)
	}
	return l, err
}

// called returns l by the ID that the engine gives it.
func (e *engine) called(l keyway.ImageLayers, image v1.Image) keyway.ImageLayers {
	if id, err := image.Digest(); err == nil && e.manifests {
		l.ID = id.String()
	}
	return l
}

func (e *engine) HaveLayers(_ context.Context, _ string, layers []string) (int, error) {
	if e.sparse {
		return len(layers), nil
	}
	return 0, nil
}

func (e *engine) ExportImage(_ context.Context, _, image string, _ int) (io.ReadCloser, error) {
	if image == bakedTag {
		return io.NopCloser(bytes.NewReader(e.got)), nil
	}
	var b bytes.Buffer
	ref, err := name.ParseReference("team/model:1")
	if err == nil {
		err = tarball.Write(ref, e.base, &b)
	}
	return io.NopCloser(&b), err
}

func (e *engine) ImportImage(_ context.Context, _, _ string, archive io.Reader) (err error) {
	e.got, err = io.ReadAll(archive)
	return err
}

func (e *engine) Facts(context.Context, keyway.Spec) (keyway.Facts, error) {
	return keyway.Facts{}, nil
}

func (e *engine) client(t *testing.T) *api.Client {
	t.Helper()
	return clientOf(t, e)
}

func clientOf(t *testing.T, node api.Node) *api.Client {
	t.Helper()
	s := httptest.NewServer(api.NewHandler(node))
	t.Cleanup(s.Close)
	return api.NewClient(http.DefaultTransport, s.URL)
}

func aBase(t *testing.T) v1.Image {
	t.Helper()
	image, err := random.Image(5000, 2)
	if err != nil {
		t.Fatal(err)
	}
	c, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, c); err != nil {
		t.Fatal(err)
	}
	return image
}

func baking(base string) Bake {
	return Bake{Base: base, Tag: bakedTag, Guest: func(arch string) (bake.Guest, error) { return bake.NewGuest(arch, []byte("\x7fELF")) }}
}

func nothing(keyway.Progress) {}

// TestBakedByALiar checks that the command fails unless the engine made the requested image.
func TestBakedByALiar(t *testing.T) {
	for what, lie := range map[string]func(*keyway.ImageLayers){
		"":                nil,
		"another image":   func(l *keyway.ImageLayers) { l.ID = "sha256:" + strings.Repeat("e", 64) },
		"a layer more":    func(l *keyway.ImageLayers) { l.Layers = append(l.Layers, l.Layers[0]) },
		"no guest in it":  func(l *keyway.ImageLayers) { l.Layers = l.Layers[:len(l.Layers)-1] },
		"another's layer": func(l *keyway.ImageLayers) { l.Layers[0] = l.Layers[1] },
	} {
		e := &engine{base: aBase(t), lie: lie}
		done, err := baking("team/model:1").At(t.Context(), EngineAt{Node: e.client(t), Place: "gpu1"}, nothing)
		if lie == nil {
			if err != nil || !keyway.IsDigest(done.ID) || done.Bytes < 10_000 || !slices.Equal(done.Arch, []string{"amd64"}) {
				t.Errorf("an honest place: %+v, %v", done, err)
			}
			continue
		}
		if !keyway.Is(err, keyway.Untrusted) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestBakedFile checks that a file has the same image as a place makes, and is complete or absent.
func TestBakedFile(t *testing.T) {
	e := &engine{base: aBase(t)}
	there := EngineAt{Node: e.client(t), Place: "gpu1"}
	made, err := baking("team/model:1").At(t.Context(), there, nothing)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "baked.tar")
	done, err := baking("team/model:1").Save(t.Context(), there, file, nothing)
	if err != nil || done.ID != made.ID {
		t.Fatalf("%+v, %v", done, err)
	}
	if a, err := readArchive(file); err != nil || a.is.ID != made.ID || a.name != bakedTag || a.layers != 3 {
		t.Errorf("the file has %+v, %v", a, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := baking("team/model:1").Save(ctx, there, file, func(keyway.Progress) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("cut: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("a cut one leaves %v, %v", left, err)
	}
	if _, err := baking("team/model:1").Save(t.Context(), there, dir, nothing); !keyway.Is(err, keyway.Usage) {
		t.Errorf("into a directory: %v", err)
	}
}

// TestBakedFromARegistry checks that a pushed image and one in a file are the same, and that an
// interrupted push changes no tag.
func TestBakedFromARegistry(t *testing.T) {
	inner := containers.New(containers.Logger(log.New(io.Discard, "", 0)))
	hold := make(chan struct{}) // closed: the registry accepts manifests
	held := make(chan struct{}, 16)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/cut") {
			held <- struct{}{}
			select {
			case <-hold:
			case <-r.Context().Done():
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(hold) })
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	repo := strings.TrimPrefix(s.URL, "http://") + "/team/model"
	ref, err := name.ParseReference(repo + ":1")
	if err == nil {
		err = remote.Write(ref, aBase(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	b := baking(repo + ":1")
	b.Tag = repo + ":ssh"
	pushed, err := b.Push(t.Context(), []string{"amd64", "arm64"}, nothing)
	if err != nil || !keyway.IsDigest(pushed.Pushed) || !keyway.IsDigest(pushed.Digest) || !slices.Equal(pushed.Arch, []string{"amd64"}) {
		t.Fatalf("%+v, %v", pushed, err)
	}
	if again, err := b.Push(t.Context(), []string{"amd64"}, nothing); err != nil || again.Pushed != pushed.Pushed {
		t.Errorf("the second time it is %s, %v", again.Pushed, err)
	}
	file := filepath.Join(t.TempDir(), "baked.tar")
	if saved, err := b.SaveFetched(t.Context(), "amd64", file, nothing); err != nil || saved.ID != pushed.ID {
		t.Errorf("in a file it is %+v, %v", saved, err)
	}
	if a, err := readArchive(file); err != nil || a.is.ID != pushed.ID {
		t.Errorf("the file has %+v, %v", a, err)
	}
	if _, err := b.SaveFetched(t.Context(), "arm64", file+"2", nothing); !keyway.Is(err, keyway.ImageNotFound) {
		t.Errorf("for an architecture that it is not built for: %v", err)
	}
	if _, err := os.Stat(file + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it left a file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-held
		cancel()
	}()
	b.Tag = repo + ":cut"
	if _, err := b.Push(ctx, []string{"amd64"}, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("cut: %v", err)
	}
	if cut, err := name.ParseReference(b.Tag); err != nil {
		t.Error(err)
	} else if _, err := remote.Head(cut); err == nil {
		t.Error("a push that was cut has set the tag")
	}
}
