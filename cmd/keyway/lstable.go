package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

// row is what ls tells of one workspace.
type row struct {
	keyway.Workspace
	// Known says that this laptop made or added it; Add is the command that adds it
	// where it did not.
	Known bool   `json:"known"`
	Add   string `json:"add,omitempty"`

	why bool // Reason is shown also of an unknown state: nothing else tells it
}

func byName(a, b row) int {
	return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(a.Name, b.Name))
}

// unseen is a workspace that this laptop knows and has not heard of now.
func unseen(e sshconfig.Entry, why string) row {
	return row{Known: true, Workspace: keyway.Workspace{
		Name: e.Name, Place: e.Place, Engine: e.Engine, State: keyway.Unknown, Reason: why,
		Created: e.Created, Sessions: -1,
	}}
}

func (r row) cells() []string {
	state := string(r.State)
	if r.Reason != "" && r.Reason != "was "+state && (r.why || r.State != keyway.Unknown) {
		state += " (" + r.Reason + ")"
	}
	jobs := "?"
	if r.Sessions >= 0 {
		jobs = strconv.Itoa(r.Sessions)
	}
	cells := []string{string(r.Name), string(r.Place), r.Engine, state, r.GPUs.String(), jobs, sinceText(r.Created), r.Image}
	if r.Add != "" {
		cells = append(cells, "not made here: "+r.Add)
	}
	for i, cell := range cells {
		cells[i] = plain.Line(cell)
	}
	return cells
}

func sinceText(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return age(time.Since(t))
}

// maxCell bounds the width that one cell gives its column.
const maxCell = 40

// table prints rows in columns as they come: a column is as wide as the widest of
// its cells so far.
type table struct {
	out    io.Writer
	widths []int
}

func newTable(out io.Writer) *table { return &table{out: out} }

// add prints rows, the first of all below the names of the columns.
func (t *table) add(rows []row) error {
	var lines [][]string
	if len(rows) > 0 && t.widths == nil {
		lines = append(lines, []string{"NAME", "PLACE", "ENGINE", "STATE", "GPUS", "JOBS", "AGE", "IMAGE"})
	}
	for _, r := range rows {
		lines = append(lines, r.cells())
	}
	for _, cells := range lines {
		for i, cell := range cells {
			if i == len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], min(utf8.RuneCountInString(cell), maxCell))
		}
	}
	var b strings.Builder
	for _, cells := range lines {
		for i, cell := range cells[:len(cells)-1] {
			fmt.Fprintf(&b, "%-*s  ", t.widths[i], cell)
		}
		b.WriteString(cells[len(cells)-1] + "\n")
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}
