// Package filelock locks files between processes. A lock ends with the process that holds it,
// however that process ends. It does not lock between goroutines of one process. Begin with Lock,
// or with Try and Wait for a file that is already open.
package filelock

import (
	"errors"
	"os"
)

// ErrLocked means that another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// Mode is the kind of a lock.
type Mode int

// The modes: a shared lock excludes exclusive ones, an exclusive lock excludes all others.
const (
	Exclusive Mode = iota
	Shared
)

// Lock waits for an exclusive lock of the file at path, which is made if it is not
// there. The lock is given back by calling release.
func Lock(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f, Exclusive, true); err != nil {
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
	info os.FileInfo // of file
}

// Lock waits for an exclusive lock of the file that is at the path now.
func (r *Repeated) Lock() error {
	for {
		if r.file == nil {
			f, err := os.OpenFile(r.Path, os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				return err
			}
			if r.info, err = f.Stat(); err != nil {
				return errors.Join(err, f.Close())
			}
			r.file = f
		}
		if err := lock(r.file, Exclusive, true); err != nil {
			return &os.PathError{Op: "lock", Path: r.Path, Err: err}
		}
		// The file may have been replaced meanwhile. The next process locks the new one.
		if now, err := os.Stat(r.Path); err == nil && os.SameFile(r.info, now) {
			return nil
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
}

// Unlock releases the lock.
func (r *Repeated) Unlock() {
	if unlock(r.file) != nil {
		_ = r.Close() // which releases it in any case
	}
}

// Close releases the lock, if it is held, and closes the file.
func (r *Repeated) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// Wait locks f until f is closed, and waits for that.
func Wait(f *os.File, m Mode) error { return lock(f, m, true) }

// Try locks f until f is closed. It does not wait: the error is ErrLocked if another
// process holds a lock that excludes this one.
func Try(f *os.File, m Mode) error { return lock(f, m, false) }
