package contents

import (
	"io/fs"
	"os"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"

	"keyway/internal/keyway"
)

// Unlisted returns the changed files of a container that its daemon does not list. A daemon that
// compares a container with its image by attributes alone misses a file that was replaced by one of
// the same size and time. All files that differ are in the upper directory of the container's
// overlay; usually only root at the place may read it.
func Unlisted(host system.Info, c container.InspectResponse, listed []keyway.FileChange) []keyway.FileChange {
	compares := slices.ContainsFunc(host.DriverStatus, func(kv [2]string) bool { return kv == [2]string{"Native Overlay Diff", "false"} })
	if !compares || c.GraphDriver == nil {
		return nil
	}
	root, err := os.OpenRoot(c.GraphDriver.Data["UpperDir"])
	if err != nil {
		return nil
	}
	defer root.Close()
	return unlisted(root.FS(), listed)
}

// unlisted is Unlisted of the upper directory itself. What cannot be read there is left out.
func unlisted(upper fs.FS, listed []keyway.FileChange) (all []keyway.FileChange) {
	known := make(map[string]bool, len(listed))
	for _, c := range listed {
		known[c.Path] = true
	}
	seen := 0
	_ = fs.WalkDir(upper, ".", func(name string, d fs.DirEntry, err error) error {
		if seen++; seen > maxChanges {
			return fs.SkipAll
		}
		if path := "/" + name; err == nil && (d.Type().IsRegular() || d.Type() == fs.ModeSymlink) && !known[path] {
			all = append(all, keyway.FileChange{Path: path, Change: keyway.ChangeModified}) // a new one would be listed
		}
		return nil
	})
	return all
}
