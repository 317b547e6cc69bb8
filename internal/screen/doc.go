// Package screen is a model of a terminal: the bytes that programs print go in,
// and what a person would see comes out, at any moment. It is what lets a
// terminal be left and found again as it was.
//
// A Screen understands what today's programs print: UTF-8 with wide characters,
// combining characters and emoji sequences, colours and underlines of every
// kind, hyperlinks, the alternate screen, margins in both directions, tab stops,
// the modes of mouse, keyboard and cursor, titles, and the questions that
// programs ask a terminal. Three things come out of it:
//
//   - Snapshot: bytes that bring another terminal of the same size into the same
//     state, modes, margins and saved cursors included.
//   - History: what has scrolled off, as logical lines with their styles, so that
//     the user's own terminal breaks them anew at its own width.
//   - Undo: bytes that switch off what has been switched on, and nothing else.
//
// Images (sixel, kitty, iTerm2) are skipped, as are lines of double width and
// the rectangle operations of the VT420. docs/SCREEN.md has the whole list.
//
// Whatever is written, memory stays bounded: see the bounds in screen.go.
package screen
