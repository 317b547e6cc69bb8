package docker_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
	"keyway/internal/imagetar"
	"keyway/internal/keyway"
)

// derive makes an image of the world's own with one more layer on it.
func (w world) derive(t *testing.T) string {
	t.Helper()
	name := strings.TrimSuffix(w.Image, ":latest") + ":derived"
	out, err := w.tool("create", w.Image, "/tool", "exit").Output()
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(string(out))
	copied := w.tool("cp", "-", id+":/")
	copied.Stdin = bytes.NewReader(append(randomEntry(t), make([]byte, 1024)...))
	for _, cmd := range []interface{ CombinedOutput() ([]byte, error) }{copied, w.tool("commit", id, name), w.tool("rm", id)} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	t.Cleanup(func() { _ = w.tool("rmi", "-f", name).Run() })
	return name
}

// keeper returns an engine as places copy images with it.
func keeper(t *testing.T, w world) *docker.Engine {
	t.Helper()
	e, ok := w.Engine.(*docker.Engine)
	if !ok {
		t.Fatalf("%T", w.Engine)
	}
	return e
}

// export returns the archive of an image.
func export(t *testing.T, e *docker.Engine, image string, without int) []byte {
	t.Helper()
	r, err := e.ExportImage(enginetest.Context(t), image, without)
	if err != nil {
		t.Fatal(enginetest.Full(err))
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestOnlyMissingLayersTravel removes an image from a daemon that keeps its lower layer, and copies
// it back without that layer. It checks that the image is the same, and that few bytes are sent.
func TestOnlyMissingLayersTravel(t *testing.T) {
	w := onDaemon(t, localDocker).world(t)
	e, ctx := keeper(t, w), enginetest.Context(t)
	image := w.derive(t)
	want, err := e.ImageLayers(ctx, image)
	if err != nil || len(want.Layers) != 2 || want.ID == "" {
		t.Fatalf("%+v, %v", want, err)
	}
	whole := export(t, e, image, 0)
	for layers, have := range map[string]int{"": 0, want.Layers[0]: 1, want.Layers[1]: 0, strings.Join(want.Layers, " "): 2} {
		if n, err := e.HaveLayers(ctx, strings.Fields(layers)); err != nil || n != have {
			t.Errorf("of %q it has %d, %v", layers, n, err)
		}
	}
	part := export(t, e, image, 1)
	if out, err := w.tool("rmi", image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if n, err := e.HaveLayers(ctx, want.Layers); err != nil || n != 1 {
		t.Fatalf("without the image it has %d layers, %v", n, err)
	}
	const layer = 256 << 10 // the layer of derive
	if len(part) > layer+layer/4 || len(whole) < len(part)+layer {
		t.Errorf("the archive has %d bytes, the whole one %d", len(part), len(whole))
	}
	if err := e.ImportImage(ctx, image, bytes.NewReader(part)); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	got, err := e.ImageLayers(ctx, image)
	if err != nil || got.ID != want.ID || !slices.Equal(got.Layers, want.Layers) {
		t.Errorf("it is %+v, want %+v, %v", got, want, err)
	}
	spec := w.Spec(t, "copied")
	spec.Image = image
	if inside := w.Run(t, w.Create(t, spec), "ls /"); !strings.Contains(inside, "random") {
		t.Errorf("inside are %q", inside)
	}
}

// TestAnImageSaysTheSame checks that the daemons and the files that they write describe an image in
// the same way, and a different image differently.
func TestAnImageSaysTheSame(t *testing.T) {
	said := []string{"ENV A=1 B=\"two words\"", "LABEL l=m", "EXPOSE 80/tcp", "VOLUME /data", "USER 12:34", "WORKDIR /w", "CMD [\"/tool\"]", "ENTRYPOINT [\"/tool\"]"}
	for host, opts := range map[string][]docker.Option{localDocker: nil, startPodman(t).Host: {docker.Podman()}} {
		plain := onDaemon(t, host)
		other := onDaemon(t, host, said...)
		e := keeper(t, plain.world(t, opts...))
		seen := map[string]bool{}
		for _, image := range []string{plain.image, other.image} {
			told, err := e.ImageLayers(enginetest.Context(t), image)
			if err != nil {
				t.Fatal(enginetest.Full(err))
			}
			_, config, err := imagetar.Describe(bytes.NewReader(export(t, e, image, 0)), imagetar.Skip)
			if err != nil {
				t.Fatal(err)
			}
			if want := keyway.ConfigHash(config); told.ConfigHash != want || want == "" || seen[want] {
				t.Errorf("%s: %s says %s, and its file %s: %s", host, image, told.ConfigHash, want, config)
			}
			seen[told.ConfigHash] = true
		}
	}
}

// TestAnArchiveHasOneName checks that the engine gives an imported image the requested name,
// whatever the archive calls it, and takes no other name from its image.
func TestAnArchiveHasOneName(t *testing.T) {
	w := onDaemon(t, localDocker).world(t)
	e, ctx := keeper(t, w), enginetest.Context(t)
	victim, err := e.ImageLayers(ctx, w.Image)
	if err != nil {
		t.Fatal(err)
	}
	image := w.derive(t)
	if out, err := w.tool("tag", image, w.Image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	evil := export(t, e, w.Image, 0) // its name is the victim's
	if out, err := w.tool("tag", victim.ID, w.Image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	other := strings.Replace(image, ":derived", ":other", 1)
	t.Cleanup(func() { _ = w.tool("rmi", "-f", other).Run() })
	if err := e.ImportImage(ctx, other, bytes.NewReader(evil)); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if got, err := e.ImageLayers(ctx, w.Image); err != nil || got.ID != victim.ID {
		t.Errorf("the archive has taken the name %s: %+v, %v", w.Image, got, err)
	}
	if got, err := e.ImageLayers(ctx, other); err != nil || got.ID == victim.ID {
		t.Errorf("%s is %+v, %v", other, got, err)
	}
}

// TestArchivesThatAreRefused checks that incomplete archives and other data leave nothing behind.
func TestArchivesThatAreRefused(t *testing.T) {
	w := onDaemon(t, localDocker).world(t)
	e, ctx := keeper(t, w), enginetest.Context(t)
	image := w.derive(t)
	whole := export(t, e, image, 0)
	name := strings.Replace(image, ":derived", ":broken", 1)
	for what, archive := range map[string][]byte{"half": whole[:len(whole)/2], "nothing": nil, "junk": bytes.Repeat([]byte("x"), 2048)} {
		if err := e.ImportImage(ctx, name, bytes.NewReader(archive)); err == nil {
			t.Errorf("%s of an archive is taken", what)
		}
		if _, err := e.ImageLayers(ctx, name); !keyway.Is(err, keyway.ImageNotFound) {
			t.Errorf("after %s of an archive there is an image: %v", what, err)
		}
	}
	for _, bad := range []string{"x y", "-v", w.Image + "@sha256:" + strings.Repeat("a", 64)} {
		if err := e.ImportImage(ctx, bad, bytes.NewReader(whole)); !keyway.Is(err, keyway.Usage) {
			t.Errorf("the name %q: %v", bad, err)
		}
	}
	if _, err := e.ExportImage(ctx, "absent:1", 0); !keyway.Is(err, keyway.ImageNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
}

// imagesToPodman brings an image of Docker's to Podman and back.
func imagesToPodman(t *testing.T, podman daemon) {
	from, to := onDaemon(t, localDocker).world(t), podman.world(t, docker.Podman())
	image, ctx := from.derive(t), enginetest.Context(t)
	want, err := keeper(t, from).ImageLayers(ctx, image)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := keeper(t, to).HaveLayers(ctx, want.Layers); err != nil || n != 0 {
		t.Errorf("Podman wants each file, and says %d, %v", n, err)
	}
	t.Cleanup(func() {
		_, _ = podman.client.ImageRemove(enginetest.Context(t), image, client.ImageRemoveOptions{Force: true})
	})
	if err := keeper(t, to).ImportImage(ctx, image, bytes.NewReader(export(t, keeper(t, from), image, 0))); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if got, err := keeper(t, to).ImageLayers(ctx, image); err != nil || got.ID != want.ID {
		t.Errorf("it is %+v, want %+v, %v", got, want, err)
	}
	back := export(t, keeper(t, to), image, 1)
	if out, err := from.tool("rmi", image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := keeper(t, from).ImportImage(ctx, image, bytes.NewReader(back)); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if got, err := keeper(t, from).ImageLayers(ctx, image); err != nil || got.ID != want.ID {
		t.Errorf("back it is %+v, want %+v, %v", got, want, err)
	}
	pinnedOnPodman(t, to, image)
	builtOnPodman(t, to, image, back, want.ID)
}

// builtOnPodman copies an image to a Podman whose own build has the same short name. Podman calls
// that one localhost/NAME, and finds it first.
func builtOnPodman(t *testing.T, w world, image string, archive []byte, id string) {
	t.Helper()
	ctx, built := enginetest.Context(t), "localhost/"+image
	t.Cleanup(func() {
		_, _ = w.daemon.client.ImageRemove(enginetest.Context(t), built, client.ImageRemoveOptions{Force: true})
	})
	if _, err := w.daemon.client.ImageTag(ctx, client.ImageTagOptions{Source: w.Image, Target: built}); err != nil {
		t.Fatal(err)
	}
	if err := keeper(t, w).ImportImage(ctx, image, bytes.NewReader(archive)); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if got, err := keeper(t, w).ImageLayers(ctx, image); err != nil || got.ID != id {
		t.Errorf("beside one that was built there it is %+v, want %s, %v", got, id, err)
	}
}

// pinnedOnPodman makes a workspace by the digest of an image whose tag was moved.
func pinnedOnPodman(t *testing.T, w world, image string) {
	t.Helper()
	ctx := enginetest.Context(t)
	there, err := keeper(t, w).Facts(ctx, image)
	if want := there.Image.Identity(); err != nil || len(want.Digests) == 0 {
		t.Fatalf("the image is %+v, %v", there.Image, err)
	} else if _, err := w.daemon.client.ImageTag(ctx, client.ImageTagOptions{Source: w.Image, Target: image}); err != nil {
		t.Fatal(err)
	} else if now, err := keeper(t, w).Facts(ctx, image); err != nil || now.Image.Identity().Same(want) {
		t.Fatalf("the tag was not moved: %+v, %v", now.Image, err)
	} else {
		spec := w.Spec(t, "pinned")
		name, _, _ := strings.Cut(image, ":")
		spec.Image = name + "@" + want.Digests[0]
		w.Create(t, spec)
		all, err := keeper(t, w).Environments(ctx, []keyway.Name{"pinned"})
		if err != nil || all[0].Error != nil || !all[0].Image.Same(want) {
			t.Errorf("by its digest it is made of %+v, want %+v, %v, %v", all[0].Image, want, err, all[0].Error)
		}
	}
}
