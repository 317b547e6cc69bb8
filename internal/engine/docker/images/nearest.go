package images

import (
	"context"
	"errors"

	"github.com/distribution/reference"
	"github.com/moby/moby/client"

	"keyway/internal/keyway"
)

// Bounds on the search for an image that the user may have meant.
const (
	maxNearest = 4096 // names that are compared
	maxRefName = 256  // bytes of a name
)

// withNearest adds to an error about an absent image the most similar name of a present one, if
// there is one.
func (s *Store) withNearest(ctx context.Context, image string, err error) error {
	var absent *keyway.Error
	if !errors.As(err, &absent) || absent.Kind != keyway.ImageNotFound {
		return err
	}
	found, listErr := s.client.ImageList(ctx, client.ImageListOptions{})
	if listErr != nil {
		return err
	}
	var names []string
	for _, i := range found.Items {
		names = append(names, i.RepoTags...)
	}
	near := nearest(image, names)
	if near == "" {
		return err
	}
	with := *absent
	with.Nearest = near
	return with.Advise(keyway.NearestImage, near)
}

// nearest returns the name in present that the user most likely meant: another tag of the same
// repository before any other name. It is empty if none is similar. Names are returned as people
// write them.
func nearest(image string, present []string) string {
	want, ok := splitRef(image)
	if !ok {
		return ""
	}
	best, bestFar := "", -1
	for _, name := range present[:min(len(present), maxNearest)] {
		have, ok := splitRef(name)
		if !ok || have == want {
			continue
		}
		far := keyway.Distance(want.repo, have.repo)
		switch {
		case far > len(want.repo)/3:
			continue // another image altogether
		case far == 0:
			far = keyway.Distance(want.tag, have.tag)
		default: // a tag is more often right than it is the only difference between images
			far = maxRefName*far + keyway.Distance(want.tag, have.tag)
		}
		if bestFar < 0 || far < bestFar || far == bestFar && name < best {
			best, bestFar = have.repo+":"+have.tag, far
		}
	}
	return best
}

// ref is an image's name in two parts, as people write them.
type ref struct{ repo, tag string }

func splitRef(name string) (ref, bool) {
	if len(name) > maxRefName {
		return ref{}, false
	}
	parsed, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ref{}, false
	}
	tagged, ok := reference.TagNameOnly(parsed).(reference.Tagged)
	if !ok {
		return ref{}, false // by digest
	}
	return ref{reference.FamiliarName(parsed), tagged.Tag()}, true
}
