package main

import (
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/term"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
	"keyway/internal/table"
)

func cells(r laptop.Row) []string {
	state := string(r.State)
	if r.Reason != "" && r.Reason != "was "+state && (r.Why || r.State != keyway.Unknown) {
		why := r.Reason
		if r.Help != "" {
			why += "; " + r.Help
		}
		state += " (" + why + ")"
	}
	jobs := "?"
	if r.Sessions >= 0 {
		jobs = strconv.Itoa(r.Sessions)
	}
	cells := []string{string(r.Name), string(r.Place), r.Engine, state, r.GPUs.String(), jobs, sinceText(r.Created), r.Image}
	if r.Add != "" {
		cells = append(cells, "not known here: "+r.Add)
	}
	for i, cell := range cells {
		cells[i] = plain.Line(clip(cell, maxCell))
	}
	return cells
}

// maxCell bounds a value in a list, in characters. The longest values are reasons in an engine's
// words.
const maxCell = 400

func sinceText(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return age(time.Since(t))
}

// printout prints workspaces as they come. A column is as wide as its widest cell so far. On a
// terminal the table fits the window, and the column IMAGE is shortened first.
type printout struct {
	out   io.Writer
	table table.Table
	begun bool
}

// newPrintout returns a printout whose columns fit the workspaces that this laptop already knows
// on the machines that are asked.
func newPrintout(out io.Writer, machines []laptop.Machine) *printout {
	const image = 7
	p := &printout{out: out, table: table.Table{Window: windowOf(out), Yield: []int{image}}}
	var known [][]string
	for _, m := range machines {
		for _, r := range m.Known() {
			known = append(known, []string{string(r.Name), string(r.Place), r.Engine, string(keyway.Running)})
		}
	}
	p.table.Expect(known)
	return p
}

// windowOf returns the width of the terminal w in columns, or 0 if w is not a terminal.
func windowOf(w io.Writer) int {
	if cleaned, ok := w.(*plain.Writer); ok {
		w = cleaned.To
	}
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// add prints rows. The first call also prints the names of the columns.
func (p *printout) add(rows []laptop.Row) error {
	var lines [][]string
	if len(rows) > 0 && !p.begun {
		p.begun = true
		lines = append(lines, []string{"NAME", "PLACE", "ENGINE", "STATE", "GPUS", "JOBS", "AGE", "IMAGE"})
	}
	for _, r := range rows {
		lines = append(lines, cells(r))
	}
	_, err := io.WriteString(p.out, p.table.Rows(lines))
	return err
}
