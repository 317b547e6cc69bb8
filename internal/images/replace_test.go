package images

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// places are the nodes at the places.
type places map[keyway.Place]*api.Client

func (p places) NodeWithEngine(_ context.Context, place keyway.Place, _ string) (*api.Client, error) {
	return p[place], nil
}

// archiveOf returns an image in the form of docker save, under the baked image's name.
func archiveOf(t *testing.T, image v1.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	ref, err := name.ParseReference(bakedTag)
	if err == nil {
		err = tarball.Write(ref, image, &b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestNoImageLosesItsNameUnasked checks that no image at a place loses its name to another one
// (from a file, from another place, or baked) without the user's consent.
func TestNoImageLosesItsNameUnasked(t *testing.T) {
	base, theirs, ours := aBase(t), aBase(t), aBase(t)
	file := filepath.Join(t.TempDir(), "ours.tar")
	if err := os.WriteFile(file, archiveOf(t, ours), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("kept")
	for what, bring := range map[string]func(ctx context.Context, to *engine, ask Replace) error{
		"a file": func(ctx context.Context, to *engine, ask Replace) error {
			_, err := Load(ctx, places{"gpu1": to.client(t)}, file, ImageCopy{To: "gpu1", Replace: ask}, nothing)
			return err
		},
		"a copy": func(ctx context.Context, to *engine, ask Replace) error {
			from := &engine{base: base, got: archiveOf(t, ours)}
			c := ImageCopy{Image: bakedTag, From: "gpu2", To: "gpu1", Replace: ask}
			_, err := Copy(ctx, places{"gpu1": to.client(t), "gpu2": from.client(t)}, c, nothing)
			return err
		},
		"a baked image": func(ctx context.Context, to *engine, ask Replace) error {
			b := baking("team/model:1")
			b.Replace = ask
			_, err := b.At(ctx, EngineAt{Node: to.client(t), Place: "gpu1"}, nothing)
			return err
		},
	} {
		before := archiveOf(t, theirs)
		for _, answer := range []error{refused, nil} {
			asked := 0
			to := &engine{base: base, got: slices.Clone(before)}
			err := bring(t.Context(), to, func(place keyway.Place, image string, there keyway.ImageLayers) error {
				asked++
				if id, err := theirs.ConfigName(); err != nil || there.ID != id.String() || place != "gpu1" || image != bakedTag {
					t.Errorf("%s: asked about %s of %s, %+v", what, image, place, there)
				}
				return answer
			})
			if moved := !bytes.Equal(to.got, before); asked != 1 || !errors.Is(err, answer) || moved != (answer == nil) {
				t.Errorf("%s: asked %d times, moved: %v, %v; the answer was %v", what, asked, moved, err, answer)
			}
		}
		to := &engine{base: base, got: slices.Clone(before)}
		if err := bring(t.Context(), to, nil); !keyway.Is(err, keyway.NotAllowed) || !bytes.Equal(to.got, before) {
			t.Errorf("%s, where nobody is asked: %v", what, err)
		}
		to = &engine{base: base}
		if err := bring(t.Context(), to, nil); err != nil || len(to.got) == 0 {
			t.Errorf("%s, where nothing has the name: %v", what, err)
		}
		if err := bring(t.Context(), to, nil); err != nil {
			t.Errorf("%s, for the second time: %v", what, err)
		}
	}
}

// TestOneImageHasTwoIDs checks engines that give one image IDs of different kinds. The image counts
// as the same: the user is not asked about it, it is not sent again, and its arrival is noticed. It
// stays the same in a file, too.
func TestOneImageHasTwoIDs(t *testing.T) {
	image := aBase(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "image.tar")
	if err := os.WriteFile(file, archiveOf(t, image), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, manifests := range []bool{true, false} {
		to, from := &engine{base: image, manifests: manifests}, &engine{base: image, got: archiveOf(t, image), manifests: !manifests}
		here := places{"gpu1": to.client(t), "gpu2": from.client(t)}
		for _, sent := range []bool{true, false} {
			done, err := Copy(t.Context(), here, ImageCopy{Image: bakedTag, From: "gpu2", To: "gpu1"}, nothing)
			if err != nil || (done.Bytes > 0) != sent {
				t.Errorf("manifests %t, a copy: %d bytes, %v", manifests, done.Bytes, err)
			}
		}
		if done, err := Load(t.Context(), here, file, ImageCopy{To: "gpu1"}, nothing); err != nil || done.Bytes > 0 {
			t.Errorf("manifests %t, the same from a file: %d bytes, %v", manifests, done.Bytes, err)
		}
		if _, err := Save(t.Context(), here, ImageCopy{From: "gpu1", Image: bakedTag}, filepath.Join(dir, "saved.tar"), nothing); err != nil {
			t.Errorf("manifests %t, into a file: %v", manifests, err)
		}
	}
}
