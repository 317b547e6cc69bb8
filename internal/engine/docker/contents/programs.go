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
	maxPrograms = 512 // added files in them that may hide others
	maxHops     = 8   // symbolic links on the way to a directory
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

// adds reports whether a file may have been added to a directory of PATH. Links may lead to these
// from elsewhere, so last names alone are compared: those in PATH, and those where its links lead in
// the image, if this is known.
func (c Container) adds(known []string) bool {
	names := map[string]bool{}
	for _, dir := range append(c.searched(), known...) {
		names[path.Base(dir)] = true
	}
	return slices.ContainsFunc(c.Changes, func(f keyway.FileChange) bool {
		return f.Change == keyway.ChangeAdded && names[path.Base(path.Dir(f.Path))]
	})
}

// linked is a file system that reports symbolic links.
type linked interface {
	Lstat(name string) (fs.FileInfo, error)
	LinkTarget(name string) (string, error)
}

// order returns the directories in which programs of c are looked for, in order, where their links
// lead.
func (c Container) order(files linked) (order []string) {
	for _, dir := range c.searched() {
		if dir = target(dir, files); !slices.Contains(order, dir) {
			order = append(order, dir)
		}
	}
	return order
}

// hiding returns those added programs that PATH finds before a program of the same name
// that was not added: python3 in /usr/local/bin before that in /usr/bin. Directories that lead to
// one another, as /bin leads to /usr/bin, hold the same programs. more is the number of programs
// beyond the bound; they are those that PATH finds last.
func (c Container) hiding(files linked) (all []keyway.FileChange, more int) {
	order := c.order(files)
	dirs := map[string]int{} // by their order in PATH
	for at, dir := range order {
		dirs[dir] = at
	}
	var added []keyway.FileChange
	isNew := map[string]bool{}
	for _, f := range c.Changes {
		at, in := dirs[path.Dir(f.Path)]
		if !in || f.Change != keyway.ChangeAdded {
			continue
		}
		isNew[f.Path] = true
		if at < len(order)-1 { // the last directory hides none
			added = append(added, f)
		}
	}
	slices.SortStableFunc(added, func(a, b keyway.FileChange) int {
		return cmp.Compare(dirs[path.Dir(a.Path)], dirs[path.Dir(b.Path)])
	})
	more = max(len(added)-maxPrograms, 0)
	for _, f := range added[:len(added)-more] {
		for _, dir := range order[dirs[path.Dir(f.Path)]+1:] {
			other := path.Join(dir, path.Base(f.Path))
			if _, err := files.Lstat(other[1:]); err == nil && !isNew[other] {
				all = append(all, f)
				break
			}
		}
	}
	return all, more
}

// target returns the directory to which dir leads, by the links of dir and of its parents.
func target(dir string, files linked) string {
	at, rest := "/", strings.Split(dir[1:], "/")
	for hops := 0; len(rest) > 0; {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		to, err := files.LinkTarget(strings.TrimPrefix(next, "/"))
		if err != nil || hops == maxHops {
			at = next
			continue
		}
		hops++
		if !path.IsAbs(to) {
			to = path.Join(at, to)
		}
		at, rest = "/", append(strings.Split(path.Clean(to)[1:], "/"), rest...)
	}
	return at
}
