package notebook

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
)

// Document is a notebook in nbformat 4, with numbers as they were written.
type Document = map[string]any

// Parse reads a JSON object without changing its numbers.
func Parse(data []byte) (Document, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var doc Document
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return doc, nil
}

// Format writes what Parse has read.
func Format(doc Document) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(doc)
	return b.Bytes(), err
}

// Run is an execution to be shown in a notebook.
type Run struct {
	ID    string
	Cell  string            // the cell's id, or empty
	Code  [sha256.Size]byte // the hash of the source that was run
	Count int
	Done  bool
	// Outputs are what the run has shown; nil if the notebook has them already.
	Outputs func() ([]Output, error)
}

const (
	// markName is the key of the mark in a cell's metadata.
	markName = "keyway"
	markKey  = "shown"
)

// Splice puts what the runs have shown, which are in order, into their cells, and
// returns the ids of those that have one. A cell whose source has changed stays as it is.
//
// A run that is done leaves a mark in its cell's metadata. A client that saves the
// notebook sends the mark back, and proves with it that it has had the outputs.
// TakeMarks removes it, so that no file has it.
func Splice(doc Document, runs []Run) (ids []string, err error) {
	for cell, run := range assign(cells(doc), runs) {
		if run.Outputs != nil {
			outputs, err := run.Outputs()
			if err != nil {
				return ids, err
			}
			fill(cell.body, run, outputs)
		}
		if run.Done {
			mark(cell.body, run.ID)
		}
		ids = append(ids, run.ID)
	}
	return ids, nil
}

func fill(cell map[string]any, run Run, outputs []Output) {
	all := make([]any, len(outputs))
	for i, o := range outputs {
		all[i] = o
	}
	cell["outputs"] = all
	if run.Count > 0 {
		cell["execution_count"] = run.Count
	}
}

func mark(cell map[string]any, id string) {
	metadata := object(cell["metadata"])
	metadata[markName] = map[string]any{markKey: id}
	cell["metadata"] = metadata
}

// cell is a code cell.
type cell struct {
	id   string
	code [sha256.Size]byte
	body map[string]any
}

func cells(doc Document) []*cell {
	var all []*cell
	list, _ := doc["cells"].([]any)
	for _, c := range list {
		body := object(c)
		if body["cell_type"] == "code" {
			id, _ := body["id"].(string)
			all = append(all, &cell{id, sha256.Sum256([]byte(text(body["source"]))), body})
		}
	}
	return all
}

// assign finds the cell of each run: by its id, and in a notebook without ids, or of a
// client that sends none, by its source. Of cells that are alike, the last runs belong
// to them in order.
func assign(all []*cell, runs []Run) map[*cell]Run {
	found := map[*cell]Run{}
	ids := false
	alike := map[[sha256.Size]byte][]*cell{}
	for _, c := range all {
		ids = ids || c.id != ""
		alike[c.code] = append(alike[c.code], c)
	}
	bySource := map[[sha256.Size]byte][]Run{}
	for _, run := range runs {
		if run.Cell == "" || !ids {
			bySource[run.Code] = append(bySource[run.Code], run)
			continue
		}
		for _, c := range alike[run.Code] {
			if c.id == run.Cell {
				found[c] = run
			}
		}
	}
	for code, same := range bySource {
		targets := alike[code]
		same = same[max(0, len(same)-len(targets)):]
		for i, run := range same {
			if _, taken := found[targets[i]]; !taken {
				found[targets[i]] = run
			}
		}
	}
	return found
}

// TakeMarks removes the marks of Splice from a notebook that a client saves, and
// returns the runs that they name.
func TakeMarks(doc Document) (runs []string) {
	for _, c := range cells(doc) {
		metadata := object(c.body["metadata"])
		mark, ok := metadata[markName]
		if !ok {
			continue
		}
		delete(metadata, markName)
		if id, ok := object(mark)[markKey].(string); ok {
			runs = append(runs, id)
		}
	}
	return runs
}
