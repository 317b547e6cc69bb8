//go:build linux

package guest

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// acceptPause is how long an accept waits for somebody to free a descriptor.
const acceptPause = 50 * time.Millisecond

// isPassing says that a failed accept is worth another try.
func isPassing(err error) bool {
	for _, e := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
