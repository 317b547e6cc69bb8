package keyway

import (
	"errors"
	"syscall"
)

// ERROR_DISK_FULL and ERROR_DISK_QUOTA_EXCEEDED of winerror.h.
const (
	errorDiskFull  = syscall.Errno(112)
	errorDiskQuota = syscall.Errno(1295)
)

// IsNoSpace reports whether a full disk, or a quota that is used up, is behind err.
func IsNoSpace(err error) bool { return errors.Is(err, errorDiskFull) || isQuota(err) }

func isQuota(err error) bool { return errors.Is(err, errorDiskQuota) }
