package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"keyway/internal/jupyter/kernel"
	"keyway/internal/jupyter/notebook"
)

// The Jupyter server knows a kernel's notebook by its path. A notebook that was moved in a shell, or
// by another client, is not at that path any more, and another one may be there.

const (
	// searchTime bounds the search for a notebook that is not at its path,
	searchTime = 10 * time.Second
	// maxListed bounds the directories that are listed for it,
	maxListed = 100
	// maxLooked bounds the notebooks that are read.
	maxLooked = 200
)

// unplaced returns the finished executions with outputs that no file has, and that no later execution
// of the cell has replaced. With unseen, it leaves out those that a client has received completely.
func unplaced(k *kernel.Kernel, unclear []string, unseen bool) (rest []notebook.Run, said map[string]int) {
	runs, said := k.RunsFinished()
	for i, r := range runs {
		replaced := slices.ContainsFunc(runs[i+1:], func(later notebook.Run) bool { return replaces(later, r) })
		if !replaced && r.Outputs != nil && !slices.Contains(unclear, r.ID) && !(unseen && k.Arrived(r.ID)) && r.Outputs(&few{}) != nil {
			rest = append(rest, r)
		}
	}
	return rest, said
}

// replaces reports whether a later run has replaced the outputs of an earlier one. Runs of one source
// whose cells have no known ids may be those of two cells, unless a file has the outputs of the later
// one.
func replaces(later, earlier notebook.Run) bool {
	if earlier.Cell != "" || later.Cell != "" {
		return later.Cell == earlier.Cell
	}
	return later.Code == earlier.Code && later.Alike == earlier.Alike && later.Outputs == nil
}

// few accepts the outputs of an execution that has none.
type few struct{ n int }

func (f *few) Write(p []byte) (int, error) {
	if f.n += len(p); f.n > len("[]") {
		return 0, errors.New("there are outputs")
	}
	return len(p), nil
}

// writeLost writes outputs whose cells are not in the notebooks at the known paths: into the one
// notebook elsewhere that has all cells that may be elsewhere (sought) or, with last, into a new
// notebook beside the first path. It reports whether another attempt is unnecessary.
func (f *Front) writeLost(ctx context.Context, paths []string, k *kernel.Kernel, unclear []string, last bool) (done bool) {
	rest, said := unplaced(k, unclear, last)
	if len(rest) == 0 {
		return true
	}
	search, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	sought, byID := f.sought(search, paths, rest)
	if found := f.search(search, paths, sought, byID); len(found) == 1 {
		f.Logf("the cells of %s are in %s now", paths[0], found[0])
		others := unclear
		for _, r := range rest {
			if !slices.ContainsFunc(sought, func(s notebook.Run) bool { return s.ID == r.ID }) {
				others = append(slices.Clip(others), r.ID)
			}
		}
		if !f.writeTo(ctx, found[0], k, others) {
			return false
		}
		rest, said = unplaced(k, unclear, last)
	}
	if !last || len(rest) == 0 {
		return true
	}
	at, err := f.keep(ctx, paths[0], k, rest)
	if err != nil {
		f.notWritten(paths[0], err)
		return false
	}
	var ids []string
	for _, r := range rest {
		ids = append(ids, r.ID)
	}
	k.Written(ids, said)
	f.Logf("wrote the outputs of %d cells to %s: %s has no such cells any more", len(ids), at, paths[0])
	return true
}

// sought returns the runs whose cells may be in another notebook than those at the paths. If there is
// a notebook at one of them, byID is true, and the cell of a run has an id that no notebook there has:
// a cell whose source was changed is still there, and a cell that was not saved is nowhere. One with
// the same source in another notebook is another cell. If no notebook is at the paths, such a cell may be
// the one, provided that it was never run (Document.Fits).
func (f *Front) sought(ctx context.Context, paths []string, runs []notebook.Run) (some []notebook.Run, byID bool) {
	some = slices.Clone(runs)
	for _, path := range paths {
		file, doc, err := f.fetch(ctx, path)
		if isMissing(err) {
			continue
		}
		if err != nil {
			return nil, true
		}
		_ = file.Close()
		byID = true
		some = slices.DeleteFunc(some, func(r notebook.Run) bool { return r.Cell == "" || doc.HasCell(r.Cell) })
	}
	return some, byID
}

// search returns the notebooks, other than those at the paths, that have the cells of all runs, with
// byID under their ids. It looks in the directory of the first path, and then in all, from the root on.
func (f *Front) search(ctx context.Context, paths []string, runs []notebook.Run, byID bool) (found []string) {
	if len(runs) == 0 {
		return nil
	}
	listed, looked := map[string]bool{}, 0
	for dirs := []string{parent(paths[0]), ""}; len(dirs) > 0 && len(listed) < maxListed && ctx.Err() == nil; dirs = dirs[1:] {
		if listed[dirs[0]] {
			continue
		}
		listed[dirs[0]] = true
		var dir struct {
			Content []struct {
				Path string `json:"path"`
				Type string `json:"type"`
			} `json:"content"`
		}
		if f.do(ctx, http.MethodGet, f.upstream.path("api/contents/"+dirs[0]), "type=directory&content=1", &dir) != nil {
			continue // it was removed, or cannot be read
		}
		for _, e := range dir.Content {
			switch {
			case e.Type == "directory" && len(dirs) <= maxListed: // of one directory, a server may list a million
				dirs = append(dirs, e.Path)
			case e.Type == "notebook" && !slices.Contains(paths, e.Path) && !f.aside(e.Path) && looked < maxLooked:
				looked++
				if f.hasAll(ctx, e.Path, runs, byID) {
					found = append(found, e.Path)
				}
			}
		}
	}
	return found
}

// parent returns the directory of a path; empty for the root.
func parent(p string) string { return strings.TrimPrefix(path.Dir("/"+p), "/") }

func (f *Front) hasAll(ctx context.Context, path string, runs []notebook.Run, byID bool) bool {
	file, doc, err := f.fetch(ctx, path)
	if err != nil {
		return false
	}
	defer file.Close()
	return doc.Fits(runs) && (doc.HasIDs() || !byID)
}

// keep writes runs with their sources into a new notebook, and returns its path.
func (f *Front) keep(ctx context.Context, path string, k *kernel.Kernel, runs []notebook.Run) (at string, err error) {
	file, err := f.spoolOf(func(w io.Writer) error { return writeSources(w, k, runs) })
	if err != nil {
		return "", err
	}
	defer file.Close()
	doc, err := file.scan()
	if err != nil {
		return "", err
	}
	runs = slices.Clone(runs)
	for i := range runs {
		runs[i].Cell, runs[i].Alike = "", -1 // they belong to the cells in order
	}
	edits, ids := doc.Splice(runs)
	if len(ids) != len(runs) {
		return "", fmt.Errorf("%d outputs have %d cells", len(runs), len(ids))
	}
	body, err := f.model(file, doc, edits)
	if err != nil {
		return "", err
	}
	defer body.Close()
	if dir := parent(path); dir != "" && isMissing(f.do(ctx, http.MethodGet, f.upstream.path("api/contents/"+dir), "content=0", nil)) {
		path = filepath.Base(path) // its directory was moved or removed, too
	}
	if at, err = f.beside(ctx, path); err != nil {
		return "", err
	}
	saved, err := f.ask(ctx, http.MethodPut, f.upstream.path("api/contents/"+at), "", body)
	if err != nil {
		return "", err
	}
	return at, saved.Body.Close()
}

// writeSources writes the model of a notebook with a cell for each run.
func writeSources(w io.Writer, k *kernel.Kernel, runs []notebook.Run) error {
	type cell struct {
		Type     string         `json:"cell_type"`
		ID       string         `json:"id"`
		Count    *int           `json:"execution_count"`
		Metadata map[string]any `json:"metadata"`
		Source   string         `json:"source"`
		Outputs  []any          `json:"outputs"`
	}
	for i, r := range runs {
		source, err := k.Source(r.ID)
		if err != nil {
			return err
		}
		data, err := json.Marshal(cell{"code", fmt.Sprint("kept-", i+1), nil, map[string]any{}, source, []any{}})
		if err != nil {
			return err
		}
		before := ","
		if i == 0 {
			before = `{"content":{"metadata":{},"nbformat":4,"nbformat_minor":5,"cells":[`
		}
		if _, err := fmt.Fprintf(w, "%s%s", before, data); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "]}}")
	return err
}
