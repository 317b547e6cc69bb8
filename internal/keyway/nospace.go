package keyway

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// AsTold is AsError for errors that leave this process: a failure because of a full disk, even
// one to use a configuration, is of kind NoSpace, and no other advice helps.
func AsTold(err error) *Error {
	e := AsError(err)
	if e == nil || e.Kind != Other && e.Kind != BadConfig || !IsNoSpace(err) {
		return e
	}
	told := *e
	told.Kind, told.Next, told.Advice = NoSpace, makeRoom(err), nil
	return &told
}

// makeRoom returns advice about a full disk.
func makeRoom(err error) string {
	if isQuota(err) {
		return "see how much is yours, and remove what you do not need: quota -s"
	}
	var at *fs.PathError
	if errors.As(err, &at) && filepath.IsAbs(at.Path) {
		return SeeFull(filepath.Dir(at.Path))
	}
	return "see what is full: df -h; df -i"
}

// SeeFull returns advice about the full file system of dir: it may lack space or inodes.
func SeeFull(dir string) string { return "see what is full: df -h " + dir + "; df -i " + dir }
