package images

import (
	"context"

	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

// PullImage makes the daemon pull the image from its registry, with login or, if that is zero, with
// the credentials of docker login at the place.
func (s *Store) PullImage(ctx context.Context, image string, login keyway.Login, report func(keyway.Progress)) error {
	d, err := s.client.Identify(ctx)
	if err != nil {
		return err
	}
	if len(image) > keyway.MaxReference {
		return keyway.Errorf(keyway.Usage, "%.100q cannot be an image", image).Advise(keyway.Example, "image", exampleImage)
	}
	return s.pull(ctx, d, image, login, report)
}

// ForgetsParts reports whether the daemon restarts the download of a layer that was interrupted.
// Only Docker with its own store does. For the others, an archive would have to contain all layers,
// and the image would lose the digest that its registry has given it.
func (s *Store) ForgetsParts(ctx context.Context) bool {
	d, err := s.client.Identify(ctx)
	if err != nil || d.Podman {
		return false
	}
	said, err := s.client.Said(ctx)
	return err == nil && !byContainerd(said)
}

// auth returns the credentials for a pull from a registry. A login is for one registry, and is sent
// to no other.
func (s *Store) auth(ctx context.Context, registry string, login keyway.Login) string {
	if login.Opens(registry) {
		return daemon.LoginAuth(login)
	}
	return s.client.RegistryAuth(ctx, registry)
}
