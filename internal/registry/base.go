package registry

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"keyway/internal/keyway"
)

// Build is an image for one architecture.
type Build struct {
	Platform v1.Platform
	Image    v1.Image
}

// Base is the image that a registry has under one name.
type Base struct {
	Digest string  // of the image, or the list of images, that the name stands for
	Builds []Build // one for each architecture
}

// Fetch returns the image's builds for the architectures that it has of those, with the
// laptop's own credentials. Layers stay at the registry until they are read, and are
// compared with their digests then. Errors are those of Look.
func Fetch(ctx context.Context, image string, arches []string) (Base, error) {
	ref, err := parse(image)
	if err != nil {
		return Base{}, err
	}
	options := here(ctx, ref)
	found, err := remote.Get(ref, options...)
	if err != nil {
		return Base{}, explain(ref, err, func() []string { return nearest(ref, options) })
	}
	b := Base{Digest: found.Digest.String()}
	if found.MediaType.IsIndex() {
		b.Builds, err = ofIndex(found, arches)
	} else {
		b.Builds, err = ofImage(found, arches)
	}
	if err != nil {
		return b, explain(ref, err, nil)
	}
	for _, build := range b.Builds {
		if err := contents(&keyway.Pull{}, build.Image); err != nil {
			return b, explain(ref, err, nil)
		}
	}
	return b, nil
}

// here has this laptop speak with the registry of ref for as long as ctx lasts.
func here(ctx context.Context, ref name.Reference) []remote.Option {
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, ref.Context())
	if err != nil { // a helper that is not there: most images need no login
		auth = authn.Anonymous
	}
	return []remote.Option{remote.WithContext(ctx), remote.WithAuth(auth), remote.WithTransport(sealed{remote.DefaultTransport, auth != authn.Anonymous})}
}

func ofIndex(found *remote.Descriptor, arches []string) ([]Build, error) {
	index, err := found.ImageIndex()
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var builds []Build
	for _, d := range m.Manifests[:min(len(m.Manifests), maxBuilds)] {
		known := func(b Build) bool { return b.Platform.Architecture == d.Platform.Architecture }
		if d.Platform == nil || d.Platform.OS != "linux" || !slices.Contains(arches, d.Platform.Architecture) || slices.ContainsFunc(builds, known) {
			continue
		}
		image, err := index.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		builds = append(builds, Build{*d.Platform, image})
	}
	return builds, nil
}

func ofImage(found *remote.Descriptor, arches []string) ([]Build, error) {
	image, err := found.Image()
	if err != nil {
		return nil, err
	}
	manifest, err := image.Manifest()
	if err == nil {
		err = plausible(manifest) // before the library reads as many bytes as it declares
	}
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil || !slices.Contains(arches, config.Architecture) {
		return nil, err
	}
	return []Build{{v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}, image}}, nil
}

// Push gives a registry an image under a tag, with the laptop's own credentials: one
// build, or a list of several. Layers that the registry has are not sent. The tag changes
// when all is there, and not before. It returns the digest.
func Push(ctx context.Context, tag string, builds []Build, report func(keyway.Progress)) (string, error) {
	ref, err := parse(tag)
	if err != nil {
		return "", err
	}
	options := here(ctx, ref)
	var digest v1.Hash
	err = watched("pushing "+tag, report, func(updates chan v1.Update) error {
		options := append(options, remote.WithProgress(updates))
		if len(builds) == 1 {
			var err error
			if digest, err = builds[0].Image.Digest(); err != nil {
				return err
			}
			return remote.Write(ref, builds[0].Image, options...)
		}
		list, err := listOf(builds)
		if err != nil {
			return err
		}
		if digest, err = list.Digest(); err != nil {
			return err
		}
		return remote.WriteIndex(ref, list, options...)
	})
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return digest.String(), notPushed(ref, err)
}

func listOf(builds []Build) (v1.ImageIndex, error) {
	kind := types.DockerManifestList
	var all []mutate.IndexAddendum
	for _, b := range builds {
		made, err := b.Image.MediaType()
		if err != nil {
			return nil, err
		}
		if made == types.OCIManifestSchema1 {
			kind = types.OCIImageIndex
		}
		all = append(all, mutate.IndexAddendum{Add: b.Image, Descriptor: v1.Descriptor{Platform: &b.Platform}})
	}
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, kind), all...), nil
}

// watched reports the progress of work that sends updates.
func watched(what string, report func(keyway.Progress), work func(chan v1.Update) error) error {
	updates, over, told := make(chan v1.Update, 64), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		for {
			select {
			case u, open := <-updates:
				if !open {
					return
				}
				report(keyway.Progress{Message: what, Done: u.Complete, Total: u.Total})
			case <-over:
				return
			}
		}
	}()
	err := work(updates)
	close(over)
	<-told
	return err
}

// notPushed explains to the user why a registry has refused an image.
func notPushed(ref name.Reference, err error) error {
	var said *transport.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said) && slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}, said.StatusCode):
		return keyway.Errorf(keyway.Denied, "the registry does not let you push %s", ref).
			Hint("%s", strings.TrimSpace("log in here, with an account that may: docker login "+loginName(ref)))
	}
	return explain(ref, err, nil)
}
