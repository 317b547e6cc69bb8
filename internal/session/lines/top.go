//go:build linux

package lines

import "keyway/internal/session/wire"

// top tracks the first row of tmux's screen. When the width changes, tmux keeps blank rows at
// the bottom and moves others into its history, where other terminals keep those. A program can
// then be in the first row without having moved there, and tmux keeps the rows that it clears
// from there, as it does when the whole screen is cleared.
type top struct {
	at       int64 // number of the first row on the screen
	scrolled int64 // rows that have left the screen since it was cleared
	kept     int64 // rows that were on the screen when it was cleared, which have no number now
}

// follow notes that the cursor is in a row.
func (t *top) follow(row uint64, w wire.Window) {
	if first := int64(row) - int64(w.Rows) + 1; first > t.at {
		t.scrolled += first - t.at
		t.at = first
	}
}

// resize notes that the terminal gets another size, and that more rows are in use.
func (t *top) resize(row uint64, from, to wire.Window, more int64) {
	switch n := int64(to.Rows) - int64(from.Rows); {
	case n < 0: // rows below the cursor go first
		gone := max(0, int64(row)-t.at+1-int64(to.Rows))
		t.at += gone
		t.scrolled += gone
	default:
		back := min(n, t.scrolled)
		t.at -= back
		t.scrolled -= back
	}
	t.at = max(t.at+more, -t.kept)
	t.scrolled = min(t.scrolled, t.at+t.kept)
}

// passed notes rows that have been printed and get no number.
func (t *top) passed(row uint64, rows int64, w wire.Window) {
	t.at -= rows
	t.kept += rows
	t.follow(row, w)
}

// cleared notes that the screen is cleared. It is in use down to the row before end.
func (t *top) cleared(end uint64) {
	t.kept += max(0, int64(end)-t.at)
	t.scrolled = 0
}
