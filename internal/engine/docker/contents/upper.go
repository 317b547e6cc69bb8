package contents

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/moby/moby/api/types/container"

	"keyway/internal/keyway"
)

// Unlisted returns the changed files of a container that its daemon does not list. Docker compares a
// container with its image by attributes, so it misses a file that was replaced by one of the same
// size and time. All files that may differ are in the upper directory of the container's overlay;
// usually only root at the place may read that.
func Unlisted(c container.InspectResponse, listed []keyway.FileChange) []keyway.FileChange {
	if c.GraphDriver == nil {
		return nil
	}
	upper, err := os.OpenRoot(c.GraphDriver.Data["UpperDir"])
	if err != nil {
		return nil
	}
	defer upper.Close()
	var lower []*os.Root
	for _, dir := range filepath.SplitList(c.GraphDriver.Data["LowerDir"]) {
		if root, err := os.OpenRoot(dir); err == nil {
			defer root.Close()
			lower = append(lower, root)
		}
	}
	return unlisted(upper, lower, listed)
}

// unlisted does what Unlisted does with the directories themselves, the nearest lower one first. It
// omits files that it cannot read.
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
	for _, layer := range lower {
		st, err := layer.Lstat(name)
		if err != nil {
			continue
		}
		if !st.Mode().IsRegular() {
			return false // the daemon sees this
		}
		if *room -= st.Size(); *room < 0 {
			return true
		}
		return !sameContent(upper, layer, name, st.Size())
	}
	return false // it is new, and the daemon lists it if it is still there
}

// sameContent reports whether both directories have the same file, up to one byte beyond size. A
// file that cannot be read counts as the same. A program in the container may have replaced it by
// something else in the meantime; sameContent neither waits for that nor follows a link.
func sameContent(a, b *os.Root, name string, size int64) bool {
	var readers [2]io.Reader
	for i, root := range []*os.Root{a, b} {
		f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return true
		}
		defer f.Close()
		if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
			return true
		}
		readers[i] = io.LimitReader(f, size+1)
	}
	var x, y [32 << 10]byte
	for {
		n, end := io.ReadFull(readers[0], x[:])
		m, _ := io.ReadFull(readers[1], y[:])
		if !bytes.Equal(x[:n], y[:m]) {
			return false
		}
		if end != nil {
			return true
		}
	}
}
