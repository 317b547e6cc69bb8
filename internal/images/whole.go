package images

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
	"keyway/internal/plain"
)

// partMark is in the names of files that are not whole yet, .NAME.keyway-part-NUMBER, so
// that those which a killed keyway left behind are known again.
const partMark = ".keyway-part-"

// whole has write fill a file, which appears only when it is complete, and not if ctx has ended.
// An error of write's Writer is one of this machine: a *localError.
func whole(ctx context.Context, file string, write func(part io.Writer, name string) error) error {
	if err := mayBecome(file); err != nil {
		return err
	}
	part, err := makePart(file)
	if err != nil {
		return full(file, err)
	}
	defer os.Remove(part.Name())
	if runtime.GOOS != "windows" { // part's own lock ends before it has its name
		if lock, err := os.Open(part.Name()); err == nil {
			defer lock.Close()
			_ = filelock.Try(lock, filelock.Shared)
		}
	}
	err = errors.Join(write(here{part}, part.Name()), part.Close(), ctx.Err())
	if err == nil {
		err = os.Chmod(part.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(part.Name(), file)
	}
	return full(file, err)
}

// mayBecome refuses a device and a directory.
func mayBecome(file string) error {
	if st, err := os.Stat(file); err == nil && !st.Mode().IsRegular() {
		return keyway.Errorf(keyway.Usage, "%s exists, and is not a file", file).Hint("name another")
	}
	return nil
}

// full returns err, with a statement that there is no space if that is the cause.
func full(file string, err error) error {
	var why error // without the name of the part
	if path, link := (*fs.PathError)(nil), (*os.LinkError)(nil); errors.As(err, &path) {
		why = path.Err
	} else if errors.As(err, &link) {
		why = link.Err
	}
	if errors.Is(why, fs.ErrNotExist) || errors.Is(why, fs.ErrPermission) {
		return keyway.Errorf(keyway.Usage, "%s cannot be written: %w", file, why).Hint("see whose its directory is: ls -ld %s", plain.Shell(filepath.Dir(file)))
	}
	if err != nil && keyway.IsNoSpace(err) {
		return keyway.Errorf(keyway.NoSpace, "no space left to write %s: %w", file, err).Hint("name a file where there is room")
	}
	return err
}

// makePart makes the temporary file for file, which is locked as long as it is open. It removes
// those of earlier commands that were killed: no process holds their locks.
func makePart(file string) (*os.File, error) {
	dir, prefix := filepath.Dir(file), "."+filepath.Base(file)+partMark
	removeParts(dir, prefix)
	for {
		f, err := os.CreateTemp(dir, prefix+"*")
		if err != nil {
			return nil, err
		}
		// Where files cannot be locked, none is found to be left behind. On Windows a lock
		// would keep this process from writing, and an open file cannot be removed.
		if runtime.GOOS != "windows" && errors.Is(filelock.Try(f, filelock.Shared), filelock.ErrLocked) {
			f.Close()
			continue // another keyway has taken it for one that was left behind
		}
		is, err := f.Stat()
		now, gone := os.Stat(f.Name())
		if err == nil && gone == nil && os.SameFile(is, now) {
			return f, nil
		}
		f.Close()
	}
}

// removeParts removes the files in dir of that prefix whose lock is free.
func removeParts(dir, prefix string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if runtime.GOOS == "windows" {
			_ = os.Remove(path)
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if filelock.Try(f, filelock.Exclusive) == nil {
			_ = os.Remove(path) // one that stays is tried again by the next
		}
		f.Close()
	}
}

// here writes to a file of this machine, and marks what that fails with.
type here struct{ io.Writer }

func (h here) Write(p []byte) (int, error) {
	n, err := h.Writer.Write(p)
	if err != nil {
		err = &localError{err}
	}
	return n, err
}

// localError is a failure on this machine, and not at a place.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

// cut returns the error for an image that has not arrived completely from a place. It
// distinguishes a fault of this machine from one of the place.
func cut(from keyway.Place, err error) error {
	if local := (*localError)(nil); err == nil || errors.As(err, &local) {
		return err
	}
	return keyway.Errorf(keyway.Unreachable, "%s has not sent the whole image: %w", from, err)
}
