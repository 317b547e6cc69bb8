package node

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"keyway/internal/catalogue"
	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// shelf is a directory of published templates. A user that can write there decides what workspaces
// are made from. So the directory and its files are trusted only if they belong to the owner and no
// other user can write to them.
type shelf struct {
	dir   string
	owner uint32 // 0 is root
}

// Templates implements api.Node.
func (n *Node) Templates(context.Context) ([][]byte, error) {
	files, _, err := n.published.read()
	return files, err
}

// allowed returns an error if the place's own templates forbid a workspace of that Spec. A
// catalogue that cannot be read might forbid it, so it does.
func (n *Node) allowed(s keyway.Spec) error {
	_, all, err := n.published.read()
	if err != nil {
		return err
	}
	return all.Check(s)
}

// read reads all templates, sorted by name. A missing directory is an empty catalogue.
func (s shelf) read() (files [][]byte, all catalogue.Catalogue, err error) {
	root, err := os.OpenRoot(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, unreadable(s.dir, err)
	}
	defer root.Close()
	if err := s.trustDirs(root); err != nil {
		return nil, nil, err
	}
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, nil, unreadable(s.dir, err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), catalogue.Suffix)
		if !ok || name == "" || name[0] == '.' { // an editor's file, or one that is being written
			continue
		}
		if len(all) == catalogue.MaxTemplates {
			return nil, nil, refused(s.dir, "it has over %d templates", catalogue.MaxTemplates)
		}
		data, t, err := s.template(root, e.Name())
		if err != nil {
			return nil, nil, err
		}
		files, all = append(files, data), append(all, t)
	}
	return files, all, nil
}

// trustDirs checks the directory and its parent, in which it could be replaced.
func (s shelf) trustDirs(root *os.Root) error {
	st, err := root.Stat(".")
	if err != nil {
		return unreadable(s.dir, err)
	}
	if err := s.trust(s.dir, st); err != nil {
		return err
	}
	above := filepath.Dir(s.dir)
	if st, err = os.Stat(above); err != nil {
		return unreadable(above, err)
	}
	return s.trust(above, st)
}

func (s shelf) trust(path string, st fs.FileInfo) error {
	uid, ok := ownerOf(st)
	switch {
	case !ok:
		return refused(path, "files have no owner here")
	case uid != s.owner:
		return refused(path, "it belongs to uid %d, and not to root", uid)
	case st.Mode().Perm()&0o022 != 0:
		return refused(path, "others than root may write to it (mode %o)", st.Mode().Perm())
	}
	return nil
}

func (s shelf) template(root *os.Root, name string) ([]byte, catalogue.Template, error) {
	path := filepath.Join(s.dir, name)
	f, err := engine.OpenIn(root, name)
	if err != nil {
		return nil, catalogue.Template{}, unreadable(path, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, catalogue.Template{}, unreadable(path, err)
	}
	if err := s.trust(path, st); err != nil {
		return nil, catalogue.Template{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, catalogue.MaxFile+1))
	if err != nil {
		return nil, catalogue.Template{}, unreadable(path, err)
	}
	t, err := catalogue.Parse(data)
	if err != nil {
		return nil, t, refused(path, "%w", err)
	}
	if t.Name+catalogue.Suffix != name {
		return nil, t, refused(path, "it holds the template %s", t.Name)
	}
	return data, t, nil
}

func unreadable(path string, err error) error { return refused(path, "it cannot be read: %w", err) }

// refused returns the error for a place that makes nothing until its administrator acts.
func refused(path, format string, args ...any) error {
	e := keyway.Errorf(keyway.BadConfig, format, args...)
	e.Message = path + ", of the place's own templates, is not believed, and nothing is made until it is mended: " + e.Message
	return e.Hint("at the place, as root: chown -R root:root %[1]s && chmod -R go-w,a+rX %[1]s", catalogue.Dir).Advise(keyway.PublishAnew)
}
