package api

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// imageNode has one image, whose archive may break off.
type imageNode struct {
	Node    // nil
	archive io.Reader
	taken   string
}

func (n *imageNode) ImageLayers(_ context.Context, _, image string) (keyway.ImageLayers, error) {
	return keyway.ImageLayers{Reference: image, Layers: make([]string, 5000)}, nil
}

func (n *imageNode) HaveLayers(_ context.Context, _ string, layers []string) (int, error) {
	return len(layers) + 7, nil
}

func (n *imageNode) ExportImage(_ context.Context, _, image string, _ int) (io.ReadCloser, error) {
	if image == "absent" {
		return nil, keyway.Errorf(keyway.ImageNotFound, "no")
	}
	return io.NopCloser(n.archive), nil
}

func (n *imageNode) ImportImage(_ context.Context, engine, image string, archive io.Reader) error {
	data, err := io.ReadAll(archive)
	n.taken = engine + " " + image + " " + string(data)
	return err
}

// breaking ends with an error.
type breaking struct{}

func (breaking) Read([]byte) (int, error) { return 0, errors.New("broke") }

// TestImagesTravel checks that a reader gets the complete archive or an error, and that answers of
// the other end are bounded.
func TestImagesTravel(t *testing.T) {
	n := &imageNode{archive: strings.NewReader(strings.Repeat("layer ", 100_000))}
	c := serve(t, n)
	r, err := c.ExportImage(t.Context(), "docker", "x:1", 0)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); err != nil || len(data) != 600_000 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	r.Close()
	n.archive = io.MultiReader(strings.NewReader(strings.Repeat("x", 500_000)), breaking{})
	if r, err = c.ExportImage(t.Context(), "docker", "x:1", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err == nil {
		t.Error("an archive that broke off ends as if it were whole")
	}
	r.Close()
	if _, err := c.ExportImage(t.Context(), "", "absent", 0); !keyway.Is(err, keyway.ImageNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
	if err := c.ImportImage(t.Context(), "podman", "x:1", strings.NewReader("archive")); err != nil || n.taken != "podman x:1 archive" {
		t.Errorf("%q, %v", n.taken, err)
	}
	if err := c.ImportImage(t.Context(), "podman", "", strings.NewReader("archive")); !keyway.Is(err, keyway.Usage) {
		t.Errorf("without a name: %v", err)
	}
	if l, err := c.ImageLayers(t.Context(), "", "x"); err != nil || len(l.Layers) != keyway.MaxLayers {
		t.Errorf("%d layers, %v", len(l.Layers), err)
	}
	if have, err := c.HaveLayers(t.Context(), "", []string{"a", "b"}); err != nil || have != 2 {
		t.Errorf("of 2 layers it has %d, %v", have, err)
	}
}
