package notebook

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
)

// Run is an execution whose outputs go into a notebook.
type Run struct {
	ID    string
	Cell  string            // the cell's id, or empty
	Code  [sha256.Size]byte // the hash of the source that was run
	Alike int               // number of cells with this source before this one; -1: unknown
	Count int
	Done  bool
	// Outputs writes the run's outputs, as the value of a cell's outputs; nil if the notebook has
	// them already.
	Outputs func(io.Writer) error
}

const (
	// markName is the key of the mark in a cell's metadata.
	markName = "keyway"
	markKey  = "shown"
)

// Edit replaces a part of a text.
type Edit struct {
	Span
	Write func(io.Writer) error // nil writes nothing
}

// Splice puts the outputs of the runs, which are in order, into their cells. It returns the ids
// of the runs that have a cell. A cell whose source has changed is not touched.
//
// A finished run leaves a mark in its cell's metadata. A client that saves the notebook sends the
// mark back, which proves that it has received the outputs. TakeMarks removes the mark, so that
// no file has it.
func (doc *Document) Splice(runs []Run) (edits []Edit, ids []string) {
	found := doc.assign(runs)
	for _, c := range doc.cells {
		if run, ok := found[c]; ok {
			ids, edits = append(ids, run.ID), append(edits, c.edits(run)...)
		}
	}
	return edits, ids
}

// Fits reports whether the notebook has a cell for each run that is the run's own, or can do no harm:
// its id is that of the run, or it was never run. An equal source alone proves little, and must
// not replace outputs that may be those of another cell.
func (doc *Document) Fits(runs []Run) bool {
	found := doc.assign(runs)
	for c, run := range found {
		if c.ran && (c.id == "" || c.id != run.Cell) {
			return false
		}
	}
	return len(found) == len(runs)
}

func (c *cell) edits(run Run) (all []Edit) {
	if run.Outputs != nil {
		all = append(all, c.set("outputs", c.outputs, run.Outputs))
		if run.Count > 0 {
			all = append(all, c.set("execution_count", c.count, text(strconv.Itoa(run.Count))))
		}
	}
	if run.Done {
		all = append(all, c.setMark(run.ID))
	}
	slices.SortStableFunc(all, func(a, b Edit) int { return cmp.Compare(a.From, b.From) })
	return all
}

// set sets a member of the cell. A code cell always has members, its type among them.
func (c *cell) set(key string, at Span, value func(io.Writer) error) Edit {
	if at.To > 0 {
		return Edit{at, value}
	}
	return Edit{Span{c.open, c.open}, func(w io.Writer) error {
		if _, err := io.WriteString(w, `"`+key+`":`); err != nil {
			return err
		}
		err := value(w)
		if err == nil {
			_, err = io.WriteString(w, ",")
		}
		return err
	}}
}

func (c *cell) setMark(id string) Edit {
	name, _ := json.Marshal(id) // marshalling a string cannot fail
	value := `{"` + markKey + `":` + string(name) + `}`
	entry := `"` + markName + `":` + value
	switch at := c.metadata; {
	case c.mark != nil:
		return Edit{Span{c.mark.value, c.mark.to}, text(value)}
	case at.To == 0:
		return c.set("metadata", at, text("{"+entry+"}"))
	case c.bare:
		return Edit{at, text("{" + entry + "}")}
	default:
		return Edit{Span{at.From + 1, at.From + 1}, text(entry + ",")}
	}
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

// TakeMarks removes the marks of Splice from a notebook that a client saves. It returns the runs
// that they name.
func (doc *Document) TakeMarks() (edits []Edit, runs []string) {
	for _, c := range doc.cells {
		m := c.mark
		if m == nil {
			continue
		}
		at := Span{m.from, m.end}
		if !m.first {
			at = Span{m.comma, m.to}
		}
		edits = append(edits, Edit{Span: at})
		if c.shown != "" {
			runs = append(runs, c.shown)
		}
	}
	return edits, runs
}

// kin identifies cells with equal sources: those with an id or, if that is empty, all of them.
type kin struct {
	code [sha256.Size]byte
	id   string
}

// assign finds the cell of each run: by its id or, in a notebook without ids or from a client
// that sends none, by its source. Among cells with equal sources and, if the run has one, its id, a
// run belongs to the one whose position it names. Of several runs of one cell, the last is shown. Of the
// remaining runs, the last ones belong to the remaining cells, in order.
func (doc *Document) assign(runs []Run) map[*cell]Run {
	found := map[*cell]Run{}
	alike := map[kin][]*cell{}
	for _, c := range doc.cells {
		if !c.readable {
			continue
		}
		alike[kin{code: c.code}] = append(alike[kin{code: c.code}], c)
		if c.id != "" {
			alike[kin{c.code, c.id}] = append(alike[kin{c.code, c.id}], c)
		}
	}
	var named, unnamed []kin // of the remaining runs
	unplaced := map[kin][]Run{}
	for _, run := range runs {
		of, all := kin{code: run.Code}, alike[kin{code: run.Code}]
		byID := run.Cell != "" && doc.ids
		if byID {
			of.id = run.Cell
		}
		targets := alike[of]
		switch {
		case byID && len(targets) == 1:
			found[targets[0]] = run
		case run.Alike >= 0 && run.Alike < len(all) && slices.Contains(targets, all[run.Alike]):
			found[all[run.Alike]] = run
		default:
			if unplaced[of] = append(unplaced[of], run); byID {
				named = append(named, of)
			} else {
				unnamed = append(unnamed, of)
			}
		}
	}
	for _, of := range append(named, unnamed...) {
		free := slices.DeleteFunc(alike[of], func(c *cell) bool { _, taken := found[c]; return taken })
		rest := unplaced[of]
		delete(unplaced, of)
		for i, run := range rest[max(0, len(rest)-len(free)):] {
			found[free[i]] = run
		}
	}
	return found
}

// Apply writes a part of a text to w with the edits applied. The edits are in order.
func Apply(w io.Writer, r io.ReaderAt, part Span, edits []Edit) error {
	at := part.From
	for _, e := range edits {
		if e.From < at || e.To > part.To || e.To < e.From {
			return errors.New("a notebook has the same part twice")
		}
		if _, err := io.Copy(w, io.NewSectionReader(r, at, e.From-at)); err != nil {
			return err
		}
		if e.Write != nil {
			if err := e.Write(w); err != nil {
				return err
			}
		}
		at = e.To
	}
	_, err := io.Copy(w, io.NewSectionReader(r, at, part.To-at))
	return err
}
