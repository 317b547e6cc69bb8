// Package filelock locks files between processes. A lock ends with the process
// that holds it, however that process ends.
package filelock

import (
	"errors"
	"os"
)

// ErrLocked means that another process holds the lock.
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

// Repeated is a lock that one process takes again and again: its file stays open in
// between, which saves most of the system calls of Lock. The zero value has no file; it is
// not safe for concurrent use.
type Repeated struct {
	Path string // of the file, which is made if it is not there
	file *os.File
	is   os.FileInfo // of file
}

// Lock waits until it alone holds the file that is at the path now.
func (r *Repeated) Lock() error {
	for {
		if r.file == nil {
			f, err := os.OpenFile(r.Path, os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				return err
			}
			if r.is, err = f.Stat(); err != nil {
				return errors.Join(err, f.Close())
			}
			r.file = f
		}
		if err := lock(r.file, true, true); err != nil {
			return &os.PathError{Op: "lock", Path: r.Path, Err: err}
		}
		// The next process locks the file at the path. It may be another one.
		if now, err := os.Stat(r.Path); err == nil && os.SameFile(r.is, now) {
			return nil
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
}

// Unlock gives the lock back.
func (r *Repeated) Unlock() {
	if unlock(r.file) != nil {
		_ = r.Close() // which gives it back in any case
	}
}

// Close gives the lock back, if it is held, and closes the file.
func (r *Repeated) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// Wait locks f as Try does, but waits for it.
func Wait(f *os.File, alone bool) error { return lock(f, alone, true) }

// Try locks f, alone or together with others that do not want it alone, until f is
// closed. It does not wait: ErrLocked.
func Try(f *os.File, alone bool) error { return lock(f, alone, false) }
