package bake

import (
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Save writes an image as docker save does, and reads its layers from where they are.
func Save(w io.Writer, tag string, image v1.Image) error {
	ref, err := name.ParseReference(tag)
	if err != nil {
		return err
	}
	return tarball.Write(ref, image, w)
}
