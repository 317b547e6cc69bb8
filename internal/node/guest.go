package node

import (
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// maxGuest bounds the bytes of the guest program; a whole keyway that can be a guest has some 30
// MB.
const maxGuest = 256 << 20

// InstallGuest puts the guest program below root, in a directory named after its content, unless it
// is there. gzipped is the embedded program, whose SHA-256 is hash. If gzipped is nil, it copies
// program, an executable that can also be a guest. A program that is there already is compared as a
// whole before use: the program that a workspace runs as its guest has the host key. If only the
// installation fails, the returned Guest still has the path at which it belongs.
func InstallGuest(root string, gzipped io.Reader, hash string, program string) (engine.Guest, error) {
	open := func() (io.ReadCloser, error) { return os.Open(program) }
	if gzipped != nil {
		open = func() (io.ReadCloser, error) { return gzip.NewReader(gzipped) }
	} else {
		if err := static(program); err != nil {
			return engine.Guest{}, err
		}
		sum, err := hashFile(program)
		if err != nil {
			return engine.Guest{}, err
		}
		hash = sum
	}
	dir := filepath.Join(root, "guests", hash)
	guest := engine.Guest{Dir: dir, Version: keyway.Version}
	if verifyGuest(dir, hash) == nil {
		return guest, nil
	}
	if err := installGuest(dir, hash, open); err != nil {
		return guest, keyway.Errorf(kindOf(err), "the guest program cannot be put into %s: %w", dir, err).
			Hint("see whether there is space, and who may write there: df -h %[1]s; df -i %[1]s", root)
	}
	return guest, nil
}

func kindOf(err error) keyway.Kind {
	if keyway.Is(err, keyway.NoSpace) {
		return keyway.NoSpace
	}
	return keyway.Other
}

// verifyGuest returns an error if an installed guest is not intact.
func verifyGuest(dir, hash string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		path := filepath.Join(dir, e.Name())
		switch target, _ := os.Readlink(path); {
		case e.Name() == keyway.GuestProgram && info.Mode().IsRegular() && isClosed(info):
		case slices.Contains(keyway.GuestLinks(), e.Name()) && target == keyway.GuestProgram:
		default:
			return fmt.Errorf("%s does not belong there", path)
		}
	}
	if st, err := os.Lstat(dir); err != nil || !st.IsDir() || !isClosed(st) || len(entries) != len(keyway.GuestLinks())+1 {
		return fmt.Errorf("%s has been changed: %w", dir, err)
	}
	sum, err := hashFile(filepath.Join(dir, keyway.GuestProgram))
	if err == nil && sum != hash {
		err = errors.New("the guest program was changed")
	}
	return err
}

// isClosed reports whether only its owner can write to a file, on systems with such permissions.
func isClosed(st fs.FileInfo) bool { return runtime.GOOS == "windows" || st.Mode().Perm()&0o022 == 0 }

// installGuest fills a directory beside dir and renames it. If another node does the same, either
// result is right. A damaged directory at dir is first moved away; containers that have it mounted
// keep it.
func installGuest(dir, hash string, open func() (io.ReadCloser, error)) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := fillGuest(tmp, hash, open); err != nil {
		return err
	}
	if _, err := os.Lstat(dir); err == nil {
		if err := os.Rename(dir, tmp+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(tmp, dir); err != nil && verifyGuest(dir, hash) != nil { // otherwise another node was faster
		return err
	}
	return nil
}

// fillGuest fills a directory with an installed guest.
func fillGuest(dir, hash string, open func() (io.ReadCloser, error)) error {
	src, err := open()
	if err != nil {
		return err
	}
	defer src.Close()
	data, err := io.ReadAll(io.LimitReader(src, maxGuest+1))
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != hash {
		return fmt.Errorf("the program is damaged: its hash is %x, not %s", sum, hash)
	}
	if err := keyway.WriteFile(filepath.Join(dir, keyway.GuestProgram), data, 0o755); err != nil {
		return err
	}
	for _, name := range keyway.GuestLinks() {
		if err := os.Symlink(keyway.GuestProgram, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	// The container's user, which may have any uid, must be able to run it.
	return os.Chmod(dir, 0o755)
}

// static returns an error for a program that needs a dynamic loader: an image may have another one,
// or none.
func static(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return keyway.Errorf(keyway.Other, "%s cannot be a guest: %w", program, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return keyway.Errorf(keyway.GuestFailed, "%s was built with cgo: it needs a loader that images may not have, so it cannot go into workspaces", program).
				Hint("build it with: make build\nor: CGO_ENABLED=0 go build ./cmd/keyway")
		}
	}
	return nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
