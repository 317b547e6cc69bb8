package installed

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// Bounds on a trace.
const (
	maxLooked = 4096 // files
	maxLinks  = 40   // symbolic links on the way to one, as Linux has it
)

// Tracked is a file system whose symbolic links can be followed by hand.
type Tracked interface {
	fs.StatFS
	// LinkTarget returns where a symbolic link leads. Of anything else it is an error.
	LinkTarget(name string) (string, error)
}

// Trace is a file system that notes which files of another one were looked for, those
// among them that are not there.
type Trace struct {
	root   Tracked
	looked map[string]bool
}

// Follow returns a Trace of root.
func Follow(root Tracked) *Trace { return &Trace{root, map[string]bool{}} }

func (t *Trace) note(name string) {
	if name != "." && len(t.looked) <= maxLooked {
		t.looked[name] = true
	}
}

// Open implements fs.FS.
func (t *Trace) Open(name string) (fs.File, error) {
	t.note(name)
	return t.root.Open(name)
}

// Stat implements fs.StatFS.
func (t *Trace) Stat(name string) (fs.FileInfo, error) {
	t.note(name)
	return t.root.Stat(name)
}

// Looked are files that something was read from, and what leads to them: absolute paths,
// with the symbolic links on the way.
type Looked struct{ at, above map[string]bool }

// errMany is of files that are not worth being remembered.
var errMany = errors.New("too many files were looked at")

// Looked returns the files that Read has looked for so far.
func (t *Trace) Looked() (Looked, error) {
	if len(t.looked) > maxLooked {
		return Looked{}, errMany
	}
	l := Looked{map[string]bool{}, map[string]bool{}}
	links := map[string]string{} // where a path leads; empty: nowhere else
	for name := range t.looked {
		l.at["/"+name] = true
		if !t.follow("/"+name, l, links) {
			return Looked{}, errMany
		}
	}
	return l, nil
}

// follow adds what leads to a file, and reports whether that could be followed.
func (t *Trace) follow(name string, l Looked, links map[string]string) bool {
	rest, done := name, ""
	for hops := 0; rest != ""; {
		var next string
		switch next, rest, _ = strings.Cut(rest, "/"); next {
		case "", ".":
			continue
		case "..":
			done = strings.TrimSuffix(path.Join("/", done, ".."), "/")
			continue
		}
		here := done + "/" + next
		target, known := links[here]
		if !known {
			target, _ = t.root.LinkTarget(here[1:])
			links[here] = target
		}
		l.above[here] = true
		if target == "" {
			done = here
			continue
		}
		if hops++; hops > maxLinks || len(links) > 8*maxLooked || len(target)+len(rest) > maxPath {
			return false
		}
		if path.IsAbs(target) {
			done = ""
		}
		rest = target + "/" + rest
	}
	l.at[done] = true
	return true
}

// Change is a changed path of a file system.
type Change struct {
	Path     string // absolute
	Modified bool   // else it was added or removed
}

// Apart reports whether the files that were looked at are certainly unchanged, given the changes of
// their file system and the paths at which others are mounted over it. A directory counts as
// modified if anything directly in it has changed.
func (l Looked) Apart(changes []Change, mounted []string) bool {
	parents := map[string]bool{}
	for _, c := range changes {
		parents[path.Dir(c.Path)] = true
	}
	for _, c := range changes {
		replaced := !c.Modified || !parents[c.Path] // and not only listed because of its content
		if l.at[c.Path] || l.at[path.Dir(c.Path)] || l.above[c.Path] && replaced {
			return false
		}
	}
	for _, m := range mounted {
		m = path.Clean(m)
		if l.at[m] || l.above[m] || l.at[path.Dir(m)] {
			return false
		}
	}
	return true
}
