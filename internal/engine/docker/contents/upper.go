package contents

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/moby/api/types/container"

	"keyway/internal/keyway"
)

// Compared returns the changed files of a container: those that its daemon lists, and that differ from
// the image's. Docker compares attributes, so its list lacks a file that was replaced by one of the same
// size and time. Podman lists all files in the upper directory of the container's overlay, also those
// that were only opened to write. The list stays unchanged if that directory cannot be read; usually
// only root at the place may, or the user of a Podman without root.
func Compared(c container.InspectResponse, listed []keyway.FileChange, podman bool) []keyway.FileChange {
	if c.GraphDriver == nil {
		return listed
	}
	upper, err := os.OpenRoot(c.GraphDriver.Data["UpperDir"])
	if err != nil {
		return listed
	}
	defer upper.Close()
	var lower []*os.Root
	for _, dir := range filepath.SplitList(c.GraphDriver.Data["LowerDir"]) {
		if root, err := os.OpenRoot(dir); err == nil {
			defer root.Close()
			lower = append(lower, root)
		}
	}
	more := unlisted(upper, lower, listed)
	room := int64(maxContent)
	return append(slices.DeleteFunc(slices.Clone(listed), func(f keyway.FileChange) bool {
		return podman && f.Change == keyway.ChangeModified && untouched(upper, lower, strings.TrimPrefix(f.Path, "/"), &room)
	}), more...)
}

// untouched reports whether a file equals the image's: in the attributes that Docker compares, and in
// its content. It reports false for an executable file, which may have other capabilities.
func untouched(upper *os.Root, lower []*os.Root, name string, room *int64) bool {
	now, err := upper.Lstat(name)
	if err != nil || !now.Mode().IsRegular() || now.Mode()&0o111 != 0 {
		return false
	}
	layer, was := below(lower, name)
	if was == nil || was.Mode() != now.Mode() || was.Size() != now.Size() || !was.ModTime().Equal(now.ModTime()) || owner(was) != owner(now) {
		return false
	}
	if *room -= was.Size(); *room < 0 {
		return false
	}
	same, err := sameContent(upper, layer, name, was.Size())
	return same && err == nil
}

// below returns the file of the image that a file in the upper directory covers, and the layer that it
// is in; nil if there is none.
func below(lower []*os.Root, name string) (*os.Root, fs.FileInfo) {
	for _, layer := range lower {
		if st, err := layer.Lstat(name); err == nil {
			return layer, st
		}
	}
	return nil, nil
}

// unlisted returns the files in the upper directory that are not listed and differ from the file in the
// nearest lower directory. It omits files that it cannot read.
func unlisted(upper *os.Root, lower []*os.Root, listed []keyway.FileChange) (all []keyway.FileChange) {
	known := make(map[string]bool, len(listed))
	for _, c := range listed {
		known[c.Path] = true
	}
	seen, room := 0, int64(maxContent)
	_ = fs.WalkDir(upper.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if seen++; seen > maxChanges {
			return fs.SkipAll
		}
		if path := "/" + name; err == nil && d.Type().IsRegular() && !known[path] && replaced(upper, lower, name, &room) {
			all = append(all, keyway.FileChange{Path: path, Change: keyway.ChangeModified})
		}
		return nil
	})
	return all
}

// replaced reports whether a file differs in content from the image's. When a program opens a file
// for writing, the file is copied to the upper directory, even if nothing is written. A file that
// exceeds the bound for contents counts as replaced.
func replaced(upper *os.Root, lower []*os.Root, name string, room *int64) bool {
	layer, st := below(lower, name)
	if st == nil || !st.Mode().IsRegular() {
		return false // a new file, or one of another kind, which the daemon lists
	}
	if *room -= st.Size(); *room < 0 {
		return true
	}
	same, err := sameContent(upper, layer, name, st.Size())
	return !same && err == nil
}

// sameContent reports whether both directories have the same file, up to one byte beyond size. A
// program in the container may have replaced it by something else in the meantime; sameContent
// neither waits for that nor follows a link.
func sameContent(a, b *os.Root, name string, size int64) (bool, error) {
	var readers [2]io.Reader
	for i, root := range []*os.Root{a, b} {
		f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return false, err
		}
		defer f.Close()
		if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
			return false, cmp.Or(err, errNoFile)
		}
		readers[i] = io.LimitReader(f, size+1)
	}
	var x, y [32 << 10]byte
	for {
		n, end := io.ReadFull(readers[0], x[:])
		m, _ := io.ReadFull(readers[1], y[:])
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if end != nil {
			return true, nil
		}
	}
}

var errNoFile = errors.New("it is no file any more")
