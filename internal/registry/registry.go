// Package registry asks an image's registry about the image before anything is pulled, and pushes
// images that keyway has made. It uses the laptop's own credentials, and runs on the laptop only.
// Layers that a place needs are fetched by package layers. Begin with Look and Find.
package registry

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
)

// Bounds on requests to a registry and its answers.
const (
	patience   = 20 * time.Second
	maxTags    = 10_000
	maxNearest = 5
	maxTag     = 128
	maxBuilds  = 64
)

// Look returns the registry's facts about the image's build for arch, as Go names architectures.
// For a tag that does not exist, the error has the kind ImageNotFound and names the nearest
// existing tags.
func Look(ctx context.Context, image, arch string) (keyway.ImageFacts, error) {
	ref, err := parse(image)
	if err != nil {
		return keyway.ImageFacts{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	access, _, err := open(ctx, ref, patience)
	if err != nil {
		return keyway.ImageFacts{}, explain(ref, err, nil)
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(access), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch})}
	found, err := remote.Get(ref, options...)
	if err != nil {
		return keyway.ImageFacts{}, explain(ref, err, func() []string { return nearest(ref, options) })
	}
	facts := keyway.ImageFacts{Digest: found.Digest.String()}
	if found.MediaType.IsIndex() {
		index, err := found.ImageIndex()
		if err != nil {
			return facts, explain(ref, err, nil)
		}
		if facts.Arch, err = builds(index); err != nil {
			return facts, explain(ref, err, nil)
		}
		if !slices.Contains(facts.Arch, arch) {
			return facts.Plain(), nil
		}
	}
	built, err := found.Image()
	if err != nil {
		return facts, explain(ref, err, nil)
	}
	err = describe(&facts, ref, built)
	return facts.Plain(), err
}

// builds returns the architectures for which a list of images has an image.
func builds(index v1.ImageIndex) ([]string, error) {
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var all []string
	for _, d := range m.Manifests[:min(len(m.Manifests), maxBuilds)] {
		if d.Platform != nil && d.Platform.OS == "linux" && !slices.Contains(all, d.Platform.Architecture) {
			all = append(all, d.Platform.Architecture)
		}
	}
	return all, nil
}

// describe adds the facts in the image's configuration.
func describe(facts *keyway.ImageFacts, ref name.Reference, built v1.Image) error {
	layers, err := built.Manifest()
	if err == nil {
		err = plausible(layers)
	}
	if err != nil {
		return explain(ref, err, nil)
	}
	config, err := built.ConfigFile()
	if err != nil {
		return explain(ref, err, nil)
	}
	facts.Env = config.Config.Env
	if len(facts.Arch) == 0 && config.Architecture != "" {
		facts.Arch = []string{config.Architecture}
	}
	facts.ID = layers.Config.Digest.String()
	if digest, err := built.Digest(); err == nil {
		facts.Build = digest.String()
	}
	for _, l := range layers.Layers {
		facts.Size += l.Size
	}
	return nil
}

// explain returns an error of a registry in words for people. near returns tags that the user may
// have meant.
func explain(ref name.Reference, err error, near func() []string) error {
	var said *transport.Error
	switch {
	case errors.Is(err, errHeard):
		return keyway.Errorf(keyway.Untrusted, "the registry of %s cannot be asked: %w", ref, err).Hint("have it use TLS, also where it gives tokens")
	case errors.As(err, new(oddError)):
		return keyway.Errorf(keyway.Untrusted, "no engine could use the image %s: %w", ref, err).Hint("check the name; if it is right, tell those who have pushed it")
	case !errors.As(err, &said) && ref.Context().RegistryStr() == builtHere:
		return keyway.Errorf(keyway.ImageNotFound, "the image %s was built where it is, and no registry has it", ref).Advise(keyway.CopyImage, ref.String())
	case !errors.As(err, &said):
		return keyway.Errorf(keyway.Unreachable, "the registry of %s cannot be asked: %w", ref, err).Hint("see whether you reach it from here")
	}
	switch said.StatusCode {
	case http.StatusNotFound:
		e := keyway.Errorf(keyway.ImageNotFound, "there is no image %s", ref)
		if near != nil {
			if tags := near(); len(tags) > 0 {
				e = e.Hint("the nearest tags: %s", strings.Join(tags, ", "))
				e.Nearest = ref.Context().Name() + ":" + tags[0]
				return e
			}
		}
		return e.Hint("check the name and the tag")
	case http.StatusUnauthorized, http.StatusForbidden:
		return keyway.Errorf(keyway.ImageNotFound, "the image %s does not exist, or you have no access to it", ref).
			Hint("check the name; if the image is private, log in here: docker login %s", loginName(ref))
	case http.StatusTooManyRequests:
		return keyway.Errorf(keyway.Unreachable, "the registry of %s allows no more requests for now", ref).Hint("wait, or log in here: docker login %s", loginName(ref))
	}
	return keyway.Errorf(keyway.Unreachable, "the registry of %s answers %s", ref, http.StatusText(said.StatusCode)).Hint("try again later")
}

// BuiltHere reports whether an image was built where it is, by its name, so that no registry
// can be asked about it.
func BuiltHere(image string) bool {
	ref, err := name.ParseReference(image)
	return err == nil && ref.Context().RegistryStr() == builtHere
}

// builtHere is Podman's name for the registry of images that it has built.
const builtHere = "localhost"

// loginName returns the argument of docker login for the registry: empty for the default one.
func loginName(ref name.Reference) string {
	if d := domain(ref); d != dockerHub {
		return d
	}
	return ""
}

// nearest returns tags of the same repository that the user may have meant, the nearest first.
func nearest(ref name.Reference, options []remote.Option) []string {
	tag, ok := ref.(name.Tag)
	if !ok {
		return nil
	}
	tags, err := remote.List(ref.Context(), options...)
	if err != nil {
		return nil
	}
	return near(tag.TagStr(), tags[:min(len(tags), maxTags)])
}

// parts are the words and numbers of a tag.
var parts = lazyregexp.New(`[0-9.]+|[a-z]+`)

// validTag matches valid tags; a registry that sends others is at fault.
var validTag = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// near orders tags by how many of the words of the one asked for they have, and then by
// how few letters differ: 2.8.0-cuda12.6-cudnn9-devel before 1.0-cuda11.8-devel for
// 2.8-cuda12.6-devel.
func near(want string, tags []string) []string {
	type candidate struct {
		tag    string
		shared int
		far    int
	}
	words := parts.FindAllString(want, -1)
	var all []candidate
	for _, tag := range tags {
		if !validTag.MatchString(tag) {
			continue
		}
		c := candidate{tag: tag, far: keyway.Distance(want[:min(len(want), maxTag)], tag)}
		have := parts.FindAllString(tag, -1)
		for _, w := range words {
			if slices.Contains(have, w) || slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(h, w+".") }) {
				c.shared++
			}
		}
		if c.shared > 0 || c.far <= len(want)/2 {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		if a.shared != b.shared {
			return b.shared - a.shared
		}
		if a.far != b.far {
			return a.far - b.far
		}
		return strings.Compare(a.tag, b.tag)
	})
	var best []string
	for _, c := range all[:min(len(all), maxNearest)] {
		best = append(best, c.tag)
	}
	return best
}
