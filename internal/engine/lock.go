package engine

import (
	"errors"
	"io/fs"
	"os"

	"keyway/internal/filelock"
)

// tryLock locks the file at path until unlock, which also removes the file: a removed workspace
// leaves nothing.
func tryLock(path string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := filelock.Try(f, filelock.Exclusive); err != nil {
			f.Close()
			return nil, err
		}
		// The previous holder may have removed the file between our open and our lock. No other
		// process would then find the file that we hold.
		if isAt(f, path) {
			return func() { os.Remove(path); f.Close() }, nil
		}
		f.Close()
	}
}

func isAt(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}

// Held reports whether a living process holds the lock on the file name in the directory root. It
// never waits and follows no link out of root: the workspace may have put anything there.
func Held(root *os.Root, name string) (bool, error) {
	f, err := OpenIn(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = filelock.Try(f, filelock.Shared)
	if errors.Is(err, filelock.ErrLocked) {
		return true, nil
	}
	return false, err
}
