// Package images is the image store of a Docker daemon or of Podman: it looks images up, pulls
// them, describes their layers, and copies them to other places.
package images

import "keyway/internal/engine/docker/daemon"

// Store is the image store of one daemon.
type Store struct{ client *daemon.Client }

// In returns the Store of c's daemon.
func In(c *daemon.Client) *Store { return &Store{c} }
