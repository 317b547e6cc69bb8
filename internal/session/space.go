//go:build linux

package session

import "keyway/internal/keyway"

// AsNoSpace gives err the kind that a full disk has.
func AsNoSpace(err error, dir string) error {
	if keyway.IsNoSpace(err) {
		return keyway.Errorf(keyway.NoSpace, "no space left for a session: %w", err).
			Hint("%s", keyway.SeeFull(dir))
	}
	return err
}
