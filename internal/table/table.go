// Package table prints text in columns that fit a terminal. It knows how wide terminals draw each
// character: East Asian characters and emoji take two columns, combining ones none. Begin with
// Table.
package table

import (
	"slices"
	"strings"

	"keyway/internal/screen"
)

// Table is a table that may come in several parts: a column is never narrower than it
// was. The zero value is as wide as its cells are.
type Table struct {
	// Window is the number of columns of the terminal; 0 means that nothing is cut, as for a
	// pipe or a file.
	Window int
	// Yield are the columns that are cut first, counted from 0, when there is not enough room.
	// The others follow, except the first one and those without a heading. If there is no room
	// for the headings either, whole columns are left out: those of Yield, the last one first,
	// and the others when the first column has been cut, too.
	Yield []int

	headings []int // widths of the cells of the first row of all
	widths   []int // of the columns until now
	ruler    *screen.Screen
}

const (
	gap = 2 // columns between two cells
	// least is the least width of a column, if its heading is not wider.
	least = 5
	// maxWidth bounds the columns of a cell that are measured.
	maxWidth = 4000
)

// Expect makes the columns wide enough for rows that are to come.
func (t *Table) Expect(rows [][]string) {
	for _, row := range rows {
		for i, cell := range row {
			if i == len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], t.width(cell))
		}
	}
}

// Rows lays out the next rows, a line for each. The cells hold one line each, of
// characters that are shown. The first row of all is the headings.
func (t *Table) Rows(rows [][]string) string {
	if len(rows) > 0 && t.headings == nil {
		for _, cell := range rows[0] {
			t.headings = append(t.headings, t.width(cell))
		}
	}
	t.Expect(rows)
	widths := t.fit()
	var b strings.Builder
	for _, row := range rows {
		blanks := 0
		for i, cell := range row {
			if widths[i] == leftOut {
				continue
			}
			cell, width := t.cut(cell, widths[i])
			b.WriteString(strings.Repeat(" ", blanks))
			b.WriteString(cell)
			blanks = widths[i] - width + gap
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// fit returns the widths of the columns in the window.
func (t *Table) fit() []int {
	widths := slices.Clone(t.widths)
	if t.Window <= 0 || len(widths) == 0 {
		return widths
	}
	var others []int
	for i := 1; i < len(t.headings); i++ {
		if !slices.Contains(t.Yield, i) {
			others = append(others, i)
		}
	}
	first := widths[0]
	for n := len(t.Yield) - 1; n >= 0; n-- {
		t.leaveOut(widths, t.Yield[n], first)
	}
	first = min(first, least)
	for n := len(others) - 1; n >= 0; n-- {
		t.leaveOut(widths, others[n], first)
	}
	over := t.narrow(widths, others, t.narrow(widths, t.Yield, t.over(widths)))
	widths[0] = max(1, widths[0]-max(0, over))
	return widths
}

// leftOut is the width of a column that is not shown.
const leftOut = -gap

// over returns the number of columns by which the table exceeds the window.
func (t *Table) over(widths []int) int {
	over := -gap - t.Window
	for _, w := range widths {
		over += w + gap
	}
	return over
}

// leaveOut hides column i if there is not enough room for the first column and the least widths of
// the others.
func (t *Table) leaveOut(widths []int, i, first int) {
	narrowest := slices.Clone(widths)
	for n := range narrowest {
		narrowest[n] = min(widths[n], t.least(n))
	}
	narrowest[0] = first
	if i < len(t.headings) && t.over(narrowest) > 0 {
		widths[i] = leftOut
	}
}

// least returns the least width of a column.
func (t *Table) least(i int) int {
	if i < len(t.headings) {
		return max(least, t.headings[i])
	}
	return maxWidth
}

// narrow takes columns away from the widest of some, and returns how many are still too many.
func (t *Table) narrow(widths, from []int, over int) int {
	for over > 0 {
		widest := -1
		for _, i := range from {
			if i < len(t.headings) && widths[i] > t.least(i) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		over--
	}
	return over
}

// width returns the number of columns of text on a terminal.
func (t *Table) width(text string) int {
	if ascii(text) {
		return min(len(text), maxWidth)
	}
	width := 0
	t.measure(text, func(_, w int) bool { width = w; return true })
	return width
}

// cut shortens text to so many columns, and returns how many it has.
func (t *Table) cut(text string, most int) (string, int) {
	width := t.width(text)
	if width <= most {
		return text, width
	}
	const more = "…"
	if most < 1 {
		return "", 0
	}
	end, width := 0, 0
	t.measure(text, func(at, w int) bool {
		if w < most {
			end, width = at, w
		}
		return w < most
	})
	return text[:end] + more, width + 1
}

// measure calls each with the end of each character of text and the width up to there, until it
// returns false.
func (t *Table) measure(text string, each func(end, width int) bool) {
	if t.ruler == nil {
		t.ruler = screen.New(maxWidth+8, 1, screen.Options{Lines: -1})
	}
	_, _ = t.ruler.Write([]byte("\r\x1b[K"))
	for at, r := range text {
		char := string(r)
		_, _ = t.ruler.Write([]byte(char))
		width, _ := t.ruler.Cursor()
		if !each(at+len(char), width) || width >= maxWidth {
			return
		}
	}
}

func ascii(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
