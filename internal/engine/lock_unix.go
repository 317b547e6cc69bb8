//go:build unix

package engine

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockNow locks f, alone or together with other readers, or says errLocked.
func lockNow(f *os.File, alone bool) error {
	how := unix.LOCK_SH
	if alone {
		how = unix.LOCK_EX
	}
	for {
		switch err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err {
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return errLocked
		default:
			return err
		}
	}
}
