// Package screen is a model of a terminal: it takes the bytes that programs print, and returns the
// picture that a user would see at that moment. With it, a user can leave a terminal and find it
// again as it was.
//
// A Screen understands the output of today's programs: UTF-8 with wide characters, combining
// characters and emoji sequences, colours and underlines of every kind, hyperlinks, the
// alternate screen, margins in both directions, tab stops, the modes of mouse, keyboard and
// cursor, titles, and the questions that programs ask a terminal. Three things come out of it:
//
//   - Snapshot: bytes that bring another terminal of the same size into the same
//     state, modes, margins and saved cursors included.
//   - History: the rows that have scrolled off, as logical lines with their styles, so that
//     the user's own terminal wraps them at its own width.
//   - Undo: bytes that switch off the modes that programs have switched on, and nothing else.
//
// Images (sixel, kitty, iTerm2) are skipped, as are lines of double width and the rectangle
// operations of the VT420. docs/SCREEN.md has the whole list.
//
// Memory is bounded for any input: see the bounds in screen.go.
package screen
