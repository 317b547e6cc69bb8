// Package template finds templates: services of Compose files, in files of the laptop, built in, and
// published at a place.
package template

import (
	"embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"keyway/internal/catalogue"
	"keyway/internal/keyway"
	"keyway/internal/template/compose"
	"keyway/internal/template/devcontainer"
	"keyway/internal/template/document"
)

// Source is the origin of a template.
type Source string

// The sources, in order of precedence: the nearest to the working directory first.
const (
	Repository Source = "repository" // a Compose file in the working directory or above it
	Mine       Source = "mine"       // the user's own directory of templates
	Place      Source = "the place"  // published by the place's operators
	BuiltIn    Source = "built in"   // part of this program
)

// Template is a service of a Compose file.
type Template struct {
	Name   string
	Source Source
	File   string // the name in messages
	doc    *document.Document
	dir    string // of the file; empty: the template is built in
	// Left lists the settings of a devcontainer.json that were left out.
	Left []devcontainer.Left
	// Published is the template as the place's operators have published it; nil for a template in
	// a file of this laptop.
	Published *catalogue.Template
}

// Finder looks for templates.
type Finder struct {
	Dir  string // the working directory
	Mine string // the directory of the user's own templates; it need not exist
	Home string // the user's home directory; the search from within it goes no higher
	// AskPlace returns the place's own templates; nil means that no place is asked. Find calls it
	// only if no nearer template has the name.
	AskPlace func() ([]Template, error)
}

// fileNames lists the names of Compose files. The first that exists is used.
var fileNames = []string{"keyway.yaml", "keyway.yml", "compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"}

// maxUp bounds the search in directories above the working directory.
const maxUp = 64

// maxMine bounds the files in the user's own directory.
const maxMine = 256

// List returns all templates, each before those that it shadows. The errors are those of files
// that cannot be read; such a file shadows nothing.
func (f Finder) List() ([]Template, []error) {
	all, problems := f.near()
	more, err := f.far()
	if err != nil {
		problems = append(problems, err)
	}
	return append(all, more...), problems
}

// far returns the templates that are not in files of the user's.
func (f Finder) far() (all []Template, asked error) {
	if f.AskPlace != nil {
		all, asked = f.AskPlace()
	}
	doc, err := builtIn()
	if err != nil {
		return all, errors.Join(asked, err)
	}
	for _, p := range document.Pairs(document.Field(doc.Root, "services")) {
		all = append(all, Template{Name: p.Key.Value, Source: BuiltIn, File: string(BuiltIn), doc: doc})
	}
	return all, asked
}

// near returns the templates in the user's files.
func (f Finder) near() (all []Template, problems []error) {
	add := func(source Source, file, dir string, doc *document.Document, err error) {
		if err != nil {
			problems = append(problems, err)
			return
		}
		for _, p := range document.Pairs(document.Field(doc.Root, "services")) {
			all = append(all, Template{Name: p.Key.Value, Source: source, File: file, doc: doc, dir: dir})
		}
	}
	if file, err := f.repository(); file != "" || err != nil {
		var doc *document.Document
		if err == nil {
			doc, err = document.Read(file)
		}
		add(Repository, file, filepath.Dir(file), doc, err)
	}
	if file, err := f.nearest(devcontainer.Files); file != "" || err != nil {
		var doc *document.Document
		var left []devcontainer.Left
		if err == nil {
			doc, left, err = devcontainer.Read(file)
		}
		add(Repository, file, filepath.Dir(file), doc, err)
		if err == nil {
			all[len(all)-1].Left = left
		}
	}
	mine, err := filepath.Glob(filepath.Join(f.Mine, "*.y*ml"))
	if err == nil && f.Mine != "" {
		for _, file := range mine[:min(len(mine), maxMine)] {
			doc, err := document.Read(file)
			add(Mine, file, f.Mine, doc, err)
		}
	}
	return all, problems
}

// Find returns the template with a name that takes precedence.
func (f Finder) Find(name string) (Template, error) {
	all, problems := f.near()
	if t, ok := named(all, name); ok {
		return t, nil
	}
	far, err := f.far()
	if err != nil {
		problems = append(problems, err)
	} else if t, ok := named(far, name); ok {
		return t, nil
	}
	if len(problems) > 0 { // the template may be in one of the unreadable files
		return Template{}, problems[0]
	}
	return Template{}, f.notFound(name, append(all, far...))
}

func named(all []Template, name string) (Template, bool) {
	i := slices.IndexFunc(all, func(t Template) bool { return t.Name == name })
	if i < 0 {
		return Template{}, false
	}
	return all[i], true
}

func (f Finder) notFound(name string, all []Template) error {
	e := keyway.Errorf(keyway.Usage, "there is no template %.80q", name)
	best, far := "", len(name)/3+1
	for _, t := range all {
		if d := keyway.Distance(name[:min(len(name), 64)], t.Name[:min(len(t.Name), 64)]); d <= far && (best == "" || d < far) {
			best, far = t.Name, d
		}
	}
	if best != "" {
		e = e.Advise(keyway.MeantTemplate, best)
		e.Nearest = best
		return e
	}
	return e.Advise(keyway.SeeTemplates)
}

// Only returns the one template of the working directory's keyway.yaml, for commands without a
// name. It does not look in a compose.yaml, which may serve another purpose.
func (f Finder) Only() (Template, bool, error) {
	file, err := f.repository()
	if file == "" || !slices.Contains(fileNames[:2], filepath.Base(file)) {
		if file != "" { // a compose.yaml that is no keyway.yaml
			err = nil
		}
		return Template{}, false, err
	}
	if err != nil {
		return Template{}, false, err
	}
	doc, err := document.Read(file)
	if err != nil {
		return Template{}, false, err
	}
	services := document.Pairs(document.Field(doc.Root, "services"))
	if len(services) != 1 {
		var names []string
		for _, p := range services {
			names = append(names, p.Key.Value)
		}
		several := keyway.Errorf(keyway.Usage, "%s has %d templates", file, len(services))
		for _, name := range names {
			several = several.Advise(keyway.NameTemplate, name)
		}
		return Template{}, false, several
	}
	return Template{Name: services[0].Key.Value, Source: Repository, File: file, doc: doc, dir: filepath.Dir(file)}, true, nil
}

// repository returns the Compose file in the working directory or the nearest one above it. The
// search ends at the home directory, at the root of a repository, and at a directory of another
// user's: anybody can write a compose.yaml into /tmp.
func (f Finder) repository() (string, error) { return f.nearest(fileNames) }

// nearest returns the first existing file of those names, from the working directory upwards.
func (f Finder) nearest(names []string) (string, error) {
	dir := f.Dir
	for range maxUp {
		if dir == "" {
			return "", nil
		}
		for _, name := range names {
			file := filepath.Join(dir, name)
			st, err := os.Stat(file)
			if err != nil && !isLink(file) { // or the directory cannot be searched
				continue
			}
			if err != nil || !st.Mode().IsRegular() {
				return file, irregular(file, st, err)
			}
			if !trusted(st) {
				return "", keyway.Errorf(keyway.BadConfig, "%s belongs to another user, or all may write to it: they would choose what your workspace mounts and runs", file).
					Hint("see what it asks for, and copy it: cp %s keyway.yaml", file)
			}
			return file, nil
		}
		_, err := os.Lstat(filepath.Join(dir, ".git"))
		if parent := filepath.Dir(dir); err == nil || parent == dir || dir == f.Home {
			return "", nil
		} else {
			dir = parent
		}
	}
	return "", nil
}

func isLink(file string) bool {
	st, err := os.Lstat(file)
	return err == nil && st.Mode()&fs.ModeSymlink != 0
}

// irregular returns an error for a file that cannot hold a template. It does not open the file: a
// named pipe would block, and opening a device may have any effect.
func irregular(file string, st fs.FileInfo, err error) error {
	what := "a link that leads nowhere"
	if err == nil {
		switch st.Mode().Type() {
		case fs.ModeDir:
			what = "a directory"
		case fs.ModeNamedPipe:
			what = "a named pipe"
		case fs.ModeSocket:
			what = "a socket"
		default:
			what = "a device"
		}
	}
	return keyway.Errorf(keyway.BadConfig, "%s is %s, and a template is in a regular file", file, what).
		Hint("see what it is, and move it away: ls -ld %s", file)
}

//go:embed builtin/builtin.yaml
var builtInFiles embed.FS

// builtIn returns the file with this program's templates.
func builtIn() (*document.Document, error) {
	data, err := fs.ReadFile(builtInFiles, "builtin/builtin.yaml")
	if err != nil {
		return nil, err
	}
	return document.Parse(string(BuiltIn), data)
}

// Resolve returns what the template requests. Its errors name the file and the line.
func (t Template) Resolve(w compose.Where) (compose.Asked, error) {
	if t.Published != nil {
		return t.published(), nil
	}
	return compose.Service{Document: t.doc, Name: t.Name, Dir: t.dir, Confined: t.Source != Mine}.Resolve(w)
}

// Dir returns the directory of the template's file, or "" for a built-in template.
func (t Template) Dir() string { return t.dir }
