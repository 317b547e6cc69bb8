// Package filelock locks files between processes. A lock ends with the process
// that holds it, however that process ends.
package filelock

import "os"

// Lock waits until it alone holds the file at path, which is made if it is not
// there. The lock is given back by calling unlock.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return func() { f.Close() }, nil
}
