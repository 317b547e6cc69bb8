package front

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"keyway/test/await"
)

// otherDocument returns a notebook without the cell of newDocument.
func otherDocument() document {
	doc := newDocument()
	doc["cells"].([]any)[0].(map[string]any)["source"] = "another"
	doc["cells"].([]any)[0].(map[string]any)["id"] = "b"
	return doc
}

// editedDocument returns newDocument after its cell was edited.
func editedDocument() document {
	doc := newDocument()
	doc["cells"].([]any)[0].(map[string]any)["source"] = "edited"
	return doc
}

// withoutIDs returns newDocument as nbformat before 4.5 has it.
func withoutIDs() document {
	doc := newDocument()
	delete(doc["cells"].([]any)[0].(map[string]any), "id")
	return doc
}

// withNumber returns a notebook whose cell was run before.
func withNumber(doc document) document {
	doc["cells"].([]any)[0].(map[string]any)["execution_count"] = 7
	return doc
}

// TestNotebookElsewhere moves, removes and replaces a notebook while a cell runs and no page is
// open. It checks that the output is written to the notebook that has the cell, and that the end of
// the kernel otherwise puts it into a notebook of its own.
func TestNotebookElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		tree map[string]document
		in   string // the notebook that gets the output
		kept bool   // only at the end of the kernel
	}{
		"where it was":                          {map[string]document{"dir/x.ipynb": newDocument(), "copy.ipynb": newDocument()}, "dir/x.ipynb", false},
		"renamed":                               {map[string]document{"dir/z.ipynb": newDocument(), "dir/a.ipynb": otherDocument()}, "dir/z.ipynb", false},
		"renamed, without ids":                  {map[string]document{"dir/z.ipynb": withoutIDs(), "dir/a.ipynb": otherDocument()}, "dir/z.ipynb", false},
		"renamed, run before":                   {map[string]document{"dir/z.ipynb": withNumber(newDocument())}, "dir/z.ipynb", false},
		"an equal cell with outputs of its own": {map[string]document{"dir/z.ipynb": withNumber(withoutIDs())}, "dir/x (outputs kept).ipynb", true},
		"one that was run, one that was not":    {map[string]document{"dir/z.ipynb": withNumber(withoutIDs()), "dir/y.ipynb": withoutIDs()}, "dir/y.ipynb", false},
		"moved down":                            {map[string]document{"dir/deep/er/x.ipynb": newDocument()}, "dir/deep/er/x.ipynb", false},
		"moved up":                              {map[string]document{"x.ipynb": newDocument(), "dir/a.ipynb": otherDocument()}, "x.ipynb", false},
		"its directory renamed":                 {map[string]document{"done/x.ipynb": newDocument()}, "done/x.ipynb", false},
		"swapped":                               {map[string]document{"dir/x.ipynb": otherDocument(), "dir/y.ipynb": newDocument()}, "dir/y.ipynb", false},
		"removed":                               {map[string]document{"dir/a.ipynb": otherDocument()}, "dir/x (outputs kept).ipynb", true},
		"removed with directory":                {map[string]document{}, "x (outputs kept).ipynb", true},
		"made anew":                             {map[string]document{"dir/x.ipynb": otherDocument()}, "dir/x (outputs kept).ipynb", true},
		"edited after a copy":                   {map[string]document{"dir/x.ipynb": editedDocument(), "dir/y.ipynb": newDocument()}, "dir/x (outputs kept).ipynb", true},
		"the same source only":                  {map[string]document{"dir/x.ipynb": otherDocument(), "dir/y.ipynb": withoutIDs()}, "dir/x (outputs kept).ipynb", true},
		"moved and copied":                      {map[string]document{"y.ipynb": newDocument(), "z.ipynb": newDocument()}, "x (outputs kept).ipynb", true},
		"removed twice":                         {map[string]document{"dir/x (outputs kept).ipynb": otherDocument()}, "dir/x (outputs kept 2).ipynb", true},
	} {
		for _, last := range []bool{false, true} {
			f := newFake(t)
			front, dir, m := inMidCell(t, f)
			if _, err := front.sessions(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.mu.Lock()
			f.tree = map[string]document{}
			for path, doc := range c.tree {
				data, _ := json.Marshal(doc)
				f.tree[path] = parseModel(t, data)
			}
			f.mu.Unlock()
			k, want := front.find(theKernel), "so far\n"
			if last {
				f.mu.Lock()
				f.gone = true
				f.mu.Unlock()
				front.endRecords(t.Context())
				want = stopped
				if _, err := os.Stat(filepath.Join(dir, theKernel)); !os.IsNotExist(err) {
					t.Errorf("%s: its journal: %v", name, err)
				}
			} else {
				f.run(m, "")
				await.That(t, "the cell's end", func() bool { return k.Status().Running == 0 })
				if !front.write(t.Context(), k, false) || k.Unwritten() != c.kept {
					t.Errorf("%s: to be tried again, or the outputs count as written: %v", name, !k.Unwritten())
				}
			}
			if c.kept && !last {
				want = ""
			}
			f.mu.Lock()
			for path, doc := range f.tree {
				if got := outputs(doc); path == c.in && got != want || path != c.in && got != "" {
					t.Errorf("%s, last %v: %s has %q", name, last, path, got)
				}
			}
			if f.tree[c.in] == nil && want != "" {
				t.Errorf("%s, last %v: no %s, but %q", name, last, c.in, slices.Collect(maps.Keys(f.tree)))
			}
			f.mu.Unlock()
			front.Close()
		}
	}
}

// TestRunTwice runs a cell twice and closes the page before the first run has ended. It checks that the
// notebook gets the outputs of the second, and that those of the first are nowhere.
func TestRunTwice(t *testing.T) {
	for name, c := range map[string]struct {
		cell, in string
	}{
		"where it was":             {"a", "dir/x.ipynb"},
		"renamed":                  {"a", "dir/z.ipynb"},
		"where it was, without id": {"", "dir/x.ipynb"},
	} {
		f := newFake(t)
		front, at := f.before(t.TempDir())
		page := dial(t, at, "one")
		page.execute(c.cell)
		page.execute(c.cell)
		first, second := f.ask(), f.ask()
		_ = page.conn.Close()
		k := front.find(theKernel)
		await.That(t, "the page has left", func() bool { return k.Status().Clients == 0 })
		if _, err := front.sessions(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		f.tree = map[string]document{c.in: newDocument()}
		f.mu.Unlock()
		f.status(second, "busy") // before the file is written
		f.say(second, "iopub", "execute_input", map[string]any{"execution_count": 2, "code": "code"})
		f.run(first, "one\n")
		f.run(second, "two\n")
		await.That(t, "the ends of both", func() bool { return k.Status().Running == 0 && k.Status().Queued == 0 })
		f.mu.Lock()
		f.gone = true
		f.mu.Unlock()
		front.endRecords(t.Context())
		f.mu.Lock()
		if doc := f.tree[c.in]; len(f.tree) != 1 || outputs(doc) != "two\n" {
			t.Errorf("%s: %d notebooks, and this one has %q", name, len(f.tree), outputs(doc))
		}
		f.mu.Unlock()
		front.Close()
	}
}
