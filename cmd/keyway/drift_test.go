package main

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	containers "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"keyway/internal/keyway"
	"keyway/internal/pin"
	"keyway/internal/registry"
)

// TestAMovedTagIsNamed pins an image by its tag, and moves the tag to another one.
func TestAMovedTagIsNamed(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := httptest.NewServer(containers.New(containers.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	tag, err := name.NewTag(strings.TrimPrefix(s.URL, "http://") + "/train:1")
	if err != nil {
		t.Fatal(err)
	}
	push := func() {
		t.Helper()
		image, err := random.Image(1024, 1)
		if err == nil {
			err = remote.Write(tag, image)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	push()
	facts, err := registry.Look(t.Context(), tag.String(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	p := pin.FromImage("train", "amd64", keyway.Spec{Image: tag.String()}, facts)
	if moved, err := tagMoved(t.Context(), p, io.Discard); err != nil || len(moved) != 0 {
		t.Fatalf("it has moved: %+v, %v", moved, err)
	}
	push()
	moved, err := tagMoved(t.Context(), p, io.Discard)
	if err != nil || len(moved) != 1 || moved[0].Field != "tag" || moved[0].Want != facts.Digest || moved[0].Found == facts.Digest || moved[0].Found == "" {
		t.Errorf("%+v, %v", moved, err)
	}
	s.Close()
	var news strings.Builder
	if moved, err := tagMoved(t.Context(), p, &news); err != nil || len(moved) != 0 || !strings.Contains(news.String(), "not known") {
		t.Errorf("a registry that does not answer: %+v, %v, %s", moved, err, &news)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tagMoved(ended, p, io.Discard); err == nil {
		t.Error("a comparison that was interrupted has an end")
	}
}
