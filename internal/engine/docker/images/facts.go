package images

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"

	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

// Present returns the facts of an image. If the daemon does not have the image, they are zero.
func (s *Store) Present(ctx context.Context, image string) (keyway.ImageFacts, error) {
	found, err := s.client.ImageInspect(ctx, image)
	if daemon.IsNotFound(err) {
		return keyway.ImageFacts{}, nil
	}
	if err != nil {
		return keyway.ImageFacts{}, s.client.Explain(ctx, err)
	}
	f := keyway.ImageFacts{Present: true, Arch: []string{found.Architecture}, Size: found.Size, ID: digestOnly(found.ID)}
	if found.Config != nil {
		f.Env = found.Config.Env
	}
	if known := digests(image, found.RepoDigests); len(known) > 0 {
		f.Digest = known[0]
	}
	return f, nil
}

// Identity returns the ID and digests of a container's image, and its architecture. reference is
// the name with which the container was made.
func (s *Store) Identity(ctx context.Context, reference, image string) (id keyway.ImageIdentity, arch string, err error) {
	id = keyway.ImageIdentity{Reference: reference, ID: digestOnly(image)}
	found, err := s.client.ImageInspect(ctx, image)
	if daemon.IsNotFound(err) { // it was removed by force
		return id, s.client.Known().Arch, nil
	}
	if err != nil {
		return id, "", s.client.Explain(ctx, err)
	}
	id.Digests = digests(reference, found.RepoDigests)
	return id, found.Architecture, nil
}

// digests returns the digests under which registries know an image, those in the repository of the
// reference first. Podman also has a digest for each image that it has built, which no registry
// knows: its repository is on localhost.
func digests(image string, named []string) []string {
	ours := ""
	if ref, err := reference.ParseNormalizedNamed(image); err == nil {
		ours = ref.Name()
	}
	var first, rest []string
	for _, n := range slices.Sorted(slices.Values(named)) {
		repository, digest, ok := strings.Cut(n, "@")
		if !ok {
			continue
		}
		ref, err := reference.ParseNormalizedNamed(repository)
		switch {
		case err == nil && reference.Domain(ref) == "localhost":
		case err == nil && ref.Name() == ours:
			first = append(first, digest)
		default:
			rest = append(rest, digest)
		}
	}
	return keyway.Distinct(append(first, rest...)...)
}

// digestOnly returns an image's ID in the common form of all daemons: Podman omits the algorithm.
func digestOnly(id string) string {
	if id != "" && !strings.Contains(id, ":") {
		return "sha256:" + id
	}
	return id
}

// Owner returns the numeric user and group of a workspace. known is false if only the image knows
// them.
func (f Facts) Owner(user string) (uid, gid int, known bool) {
	if user == "" {
		user = f.user
	}
	if user == "" {
		return 0, 0, true
	}
	u, g, both := strings.Cut(user, ":")
	uid, err := strconv.Atoi(u)
	if err != nil {
		return 0, 0, false
	}
	gid, err = strconv.Atoi(g)
	return uid, gid, !both || err == nil
}

// Facts are the facts of an image that matter here.
type Facts struct {
	arch    string
	user    string // that containers run as; empty: root
	volumes map[string]struct{}
}

// RunsAsRoot reports whether a workspace with that --user certainly runs as root. A name may stand
// for any uid in the image.
func (f Facts) RunsAsRoot(user string) bool {
	if user == "" {
		user = f.user
	}
	uid, _, _ := strings.Cut(user, ":")
	return uid == "" || uid == "0"
}

// check refuses an image that would put files of its own into the Home.
func (f Facts) check(d daemon.Identity, image string) error {
	if f.arch != "" && d.Arch != "" && f.arch != d.Arch {
		return otherPlatform(d, image, "it is for "+f.arch)
	}
	for target := range f.volumes {
		if keyway.GuestHome.Has(target) {
			return keyway.Errorf(keyway.Usage, "the image %s declares a volume at %.200q, which is keyway's own place in a workspace", image, target).
				Hint("take another image, or make one without that VOLUME")
		}
	}
	return nil
}

func (s *Store) inspect(ctx context.Context, image string) (Facts, error) {
	found, err := s.client.ImageInspect(ctx, image)
	facts := Facts{arch: found.Architecture}
	if found.Config != nil {
		facts.user, facts.volumes = found.Config.User, found.Config.Volumes
	}
	return facts, err
}
