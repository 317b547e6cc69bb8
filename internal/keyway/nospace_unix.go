//go:build unix

package keyway

import (
	"errors"
	"syscall"
)

// IsNoSpace reports whether a full disk, or a quota that is used up, is behind err.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isQuota(err error) bool { return errors.Is(err, syscall.EDQUOT) }
