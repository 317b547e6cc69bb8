package contents

import (
	"cmp"
	"io/fs"
	"path"
	"slices"
	"strings"

	"keyway/internal/installed"
	"keyway/internal/keyway"
)

// Bounds on the search for programs that hide others.
const (
	maxPath     = 64  // directories of PATH
	maxPrograms = 512 // added files in them
	maxHops     = 8   // symbolic links from one directory to another
)

// searched returns the directories in which programs of c are looked for, in order.
func (c Container) searched() []string {
	var dirs []string
	for dir := range strings.SplitSeq(cmp.Or(c.where().Path, installed.DefaultPath), ":") {
		if dir = path.Clean(dir); path.IsAbs(dir) && len(dirs) < maxPath {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// programs returns the files that were added directly to directories of PATH.
func (c Container) programs() (added []keyway.FileChange) {
	dirs := c.searched()
	for _, f := range c.Changes {
		if f.Change == keyway.ChangeAdded && slices.Contains(dirs, path.Dir(f.Path)) && len(added) < maxPrograms {
			added = append(added, f)
		}
	}
	return added
}

// linked is a file system that tells of symbolic links.
type linked interface {
	Lstat(name string) (fs.FileInfo, error)
	LinkTarget(name string) (string, error)
}

// hiding returns those of the added programs that PATH finds before a program of the same name
// that was not added: python3 in /usr/local/bin before that in /usr/bin. Directories that lead to
// one another, as /bin leads to /usr/bin, hold the same programs.
func (c Container) hiding(added []keyway.FileChange, files linked) (all []keyway.FileChange) {
	var dirs []string
	for _, dir := range c.searched() {
		if dir = target(dir, files); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, f := range added {
		at := slices.Index(dirs, path.Dir(f.Path))
		for _, dir := range dirs[at+1:] {
			other := path.Join(dir, path.Base(f.Path))
			if _, err := files.Lstat(other[1:]); at >= 0 && err == nil && !slices.ContainsFunc(added, func(a keyway.FileChange) bool { return a.Path == other }) {
				all = append(all, f)
				break
			}
		}
	}
	return all
}

// target returns the directory to which dir leads.
func target(dir string, files linked) string {
	for range maxHops {
		next, err := files.LinkTarget(strings.TrimPrefix(dir, "/"))
		if err != nil || dir == "/" {
			break
		}
		if !path.IsAbs(next) {
			next = path.Join(path.Dir(dir), next)
		}
		dir = path.Clean(next)
	}
	return dir
}
