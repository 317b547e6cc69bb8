// Package filelock locks files between processes. A lock ends with the process
// that holds it, however that process ends.
package filelock

import (
	"errors"
	"os"
)

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// Lock waits until it alone holds the file at path, which is made if it is not
// there. The lock is given back by calling unlock.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f, true, true); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return func() { f.Close() }, nil
}

// Wait locks f as Try does, but waits for it.
func Wait(f *os.File, alone bool) error { return lock(f, alone, true) }

// Try locks f, alone or together with others that do not want it alone, until f is
// closed. It does not wait: ErrLocked.
func Try(f *os.File, alone bool) error { return lock(f, alone, false) }
