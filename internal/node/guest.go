package node

import (
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// guestNames are the other names of the guest program; see guest.Main.
var guestNames = []string{"keyway", "scp"}

// InstallGuest puts the guest program below root, in a directory named after
// its content, if it is not there yet. gzipped is the embedded program, or nil:
// then program, an executable that can be a guest too, is copied.
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
	if _, err := os.Stat(filepath.Join(dir, keyway.GuestProgram)); err == nil {
		return engine.Guest{Dir: dir, Version: keyway.Version}, nil
	}
	if err := installGuest(dir, open); err != nil {
		return engine.Guest{}, keyway.Errorf(kindOf(err), "the guest program cannot be put into %s: %w", dir, err).
			Hint("see whether there is space, and who may write there: df -h %s", root)
	}
	return engine.Guest{Dir: dir, Version: keyway.Version}, nil
}

func kindOf(err error) keyway.Kind {
	if keyway.Is(err, keyway.NoSpace) {
		return keyway.NoSpace
	}
	return keyway.Other
}

// installGuest fills a directory beside dir and renames it: another node that
// does the same loses or wins, both are right.
func installGuest(dir string, open func() (io.ReadCloser, error)) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	src, err := open()
	if err != nil {
		return err
	}
	defer src.Close()
	data, err := io.ReadAll(src)
	if err != nil {
		return err
	}
	if err := keyway.WriteFile(filepath.Join(tmp, keyway.GuestProgram), data, 0o755); err != nil {
		return err
	}
	for _, name := range guestNames {
		if err := os.Symlink(keyway.GuestProgram, filepath.Join(tmp, name)); err != nil {
			return err
		}
	}
	// The container's user, whoever that is, must be able to run it.
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, statErr := os.Stat(filepath.Join(dir, keyway.GuestProgram)); statErr != nil {
			return err
		}
	}
	return nil
}

// static refuses a program that needs a dynamic loader: the image it is put into
// may have another one, or none.
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
