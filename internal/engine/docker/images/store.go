// Package images is the images of a Docker daemon or of Podman: whether one is there,
// how it comes there, what it is made of, and how it travels to another place.
package images

import "keyway/internal/engine/docker/daemon"

// Store is the images of one daemon.
type Store struct{ client *daemon.Client }

// In is the Store of the daemon that c talks to.
func In(c *daemon.Client) *Store { return &Store{c} }
