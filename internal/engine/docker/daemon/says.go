package daemon

import (
	"context"
	"errors"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"keyway/internal/keyway"
)

// Explain returns an error of the daemon in words for users. It is for requests without a more
// specific explanation.
func (c *Client) Explain(ctx context.Context, err error) error {
	var said *keyway.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &said):
		return err
	case client.IsErrConnectionFailed(err):
		return c.Unusable(err)
	}
	d := c.Known()
	if SaysNoSpace(err.Error()) {
		return NoSpace(d, Says(err))
	}
	return keyway.Errorf(keyway.Other, "%s says: %s", d.Title(), Says(err))
}

// Known returns the identity that Identify remembers, or at least whether the daemon is Podman.
func (c *Client) Known() Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	var d Identity
	if c.known != nil {
		d = *c.known
	}
	d.Podman = c.name == namePodman
	return d
}

// SaysNoSpace reports whether a daemon's message is about a full disk or an exhausted quota.
func SaysNoSpace(said string) bool {
	said = strings.ToLower(said)
	return strings.Contains(said, "no space left on device") || strings.Contains(said, "quota exceeded")
}

// NoSpace returns the error for a daemon without space.
func NoSpace(d Identity, said string) *keyway.Error {
	return keyway.Errorf(keyway.NoSpace, "%s has no space left: %s", d.Title(), said).
		Hint("see what takes it: %s system df\nand give some back: %s system prune", d.Name(), d.Name())
}

// wrappings are the prefixes that the layers of a daemon add to a message and that carry no
// information.
var wrappings = []string{
	"Error response from daemon: ", "failed to create task for container: ", "failed to create shim task: ", "OCI runtime create failed: ",
	"runc create failed: ", "unable to start container process: ", "error during container init: ",
}

// Says returns the message of a daemon's error in one line, without the prefixes of the daemon's
// layers.
func Says(err error) string {
	said := err.Error()
	for _, w := range wrappings {
		said = strings.TrimPrefix(said, w)
	}
	said = strings.TrimSuffix(said, ": unknown") // containerd's code for any error
	said = strings.Join(strings.Fields(strings.ToValidUTF8(said, "?")), " ")
	if len(said) > maxSaid {
		said = strings.ToValidUTF8(said[:maxSaid], "") + "…"
	}
	return said
}

// maxSaid bounds the bytes of a daemon's message.
const maxSaid = 1 << 10

// IsNotFound reports whether the daemon does not have the object.
func IsNotFound(err error) bool { return errdefs.IsNotFound(err) }

// IsConflict reports whether the object's state conflicts with the request.
func IsConflict(err error) bool { return errdefs.IsConflict(err) }

// IsNotModified reports whether the object already was in the requested state.
func IsNotModified(err error) bool { return errdefs.IsNotModified(err) }
