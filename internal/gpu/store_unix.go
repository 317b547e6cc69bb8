//go:build unix

package gpu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// directory is a store in a directory to which every user of the machine may write, and in which no
// user can remove another's files (its sticky bit).
type directory struct{ path string }

const (
	// everybody lets every user take a lock and write a lease, whichever user made the file.
	everybody = 0o666
	shared    = fs.ModeSticky | 0o777 // the directory's mode
	// lockPoll is the interval at which a held lock is tried again. flock(2) can wait by
	// itself, but a context could not end that.
	lockPoll = 5 * time.Millisecond
	// lockTimeout bounds the wait for the lock: its holders only read and write small files.
	lockTimeout = 30 * time.Second
	maxNames    = 8192 // in the directory
)

// open makes the directory if it is not there. A link in its place is refused, and so is a
// directory in which others could remove our files. Its maker opens it to all a moment after it has
// appeared.
func (d directory) open(ctx context.Context) error {
	for deadline := time.Now().Add(lockTimeout); ; {
		if err := os.Mkdir(d.path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		st, err := os.Lstat(d.path)
		switch {
		case err != nil:
			return err
		case !st.IsDir():
			return fmt.Errorf("%s is not a directory", d.path)
		case st.Mode()&(fs.ModeSticky|fs.ModePerm) == shared:
			return nil
		case ownedBy(st, os.Getuid()):
			return os.Chmod(d.path, shared) // whatever the umask
		case time.Now().After(deadline):
			return keyway.Errorf(keyway.NoGPU, "%s, where the users of this machine agree on its GPUs, is not open to all of them", d.path).
				Hint("see whose it is: ls -ld %s", d.path)
		}
		if err := sleep.For(ctx, lockPoll); err != nil {
			return err
		}
	}
}

func ownedBy(st fs.FileInfo, uid int) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == uid
}

// openFile opens a file of the store, which it makes if it is not there. It does not ask for both
// at once: the kernel refuses to open another user's file with O_CREAT in such a directory
// (fs.protected_regular, proc_sys_fs(5)).
func (d directory) openFile(name string, make bool) (*os.File, error) {
	path := filepath.Join(d.path, name)
	for {
		// O_NONBLOCK: the open of a FIFO would wait for its other end.
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err == nil {
			return regular(f)
		}
		if !errors.Is(err, fs.ErrNotExist) || !make {
			return nil, err
		}
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, everybody)
		if err == nil {
			return f, f.Chmod(everybody) // whatever the umask
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
}

func regular(f *os.File) (*os.File, error) {
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "use", Path: f.Name(), Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (d directory) lock(ctx context.Context) (func(), error) {
	if err := d.open(ctx); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockTimeout); ; {
		h, err := d.hold("lock")
		if err == nil {
			return func() { h.release(false) }, nil
		}
		if !errors.Is(err, filelock.ErrLocked) {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, keyway.Errorf(keyway.NoGPU, "another process holds the lock %s/lock of this place's GPUs, and does not release it", d.path).
				Hint("see who: fuser -v %s/lock", d.path)
		}
		if err := sleep.For(ctx, lockPoll); err != nil {
			return nil, err
		}
	}
}

func (d directory) hold(name string) (holding, error) {
	for {
		f, err := d.openFile(name, true)
		if err != nil {
			return nil, err
		}
		if err := filelock.Try(f, filelock.Exclusive); err != nil {
			f.Close()
			return nil, err
		}
		// The one who held it before may have removed it since it was opened here.
		if sameFile(f) {
			return &heldFile{file: f}, nil
		}
		f.Close()
	}
}

func sameFile(f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(mine, there)
}

func (d directory) look(name string) ([]byte, bool, error) {
	f, err := d.openFile(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	err = filelock.Try(f, filelock.Shared)
	if err != nil && !errors.Is(err, filelock.ErrLocked) {
		return nil, false, err
	}
	data := make([]byte, maxFile)
	n, readErr := f.ReadAt(data, 0)
	if n < maxFile {
		n, readErr = 0, nil // never written to, or not by us
	}
	return bytes.TrimRight(data[:n], " "), err != nil, readErr
}

func (d directory) list(prefix string) ([]string, error) {
	dir, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxNames)
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) })
	slices.Sort(names)
	return names, err
}

type heldFile struct {
	file *os.File
	once sync.Once
}

func (h *heldFile) write(data []byte) error {
	if len(data) > maxFile {
		return fmt.Errorf("%s: over %d bytes", h.file.Name(), maxFile)
	}
	_, err := h.file.WriteAt(append(data, bytes.Repeat([]byte(" "), maxFile-len(data))...), 0)
	return err
}

func (h *heldFile) release(remove bool) {
	h.once.Do(func() {
		if remove {
			_ = os.Remove(h.file.Name()) // it is ours; a file that stays has no holder
		}
		h.file.Close()
	})
}

// openToAll reports whether every user may write to dir, and none can remove another's files.
func openToAll(dir string) bool {
	st, err := os.Stat(dir)
	return err == nil && st.IsDir() && st.Mode()&(fs.ModeSticky|0o002) == fs.ModeSticky|0o002
}
