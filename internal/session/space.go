//go:build linux

package session

import (
	"errors"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// AsNoSpace gives err the kind that a full disk has.
func AsNoSpace(err error, dir string) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return keyway.Errorf(keyway.NoSpace, "no space left for a session: %w", err).
			Hint("see what is full: df -h %s", dir)
	}
	return err
}
