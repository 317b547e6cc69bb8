// Package typeahead discards the unread input of a terminal. A program that stops reading a
// terminal leaves the rest of a pasted text in the terminal's input queue, and the shell that reads
// next would run it. Begin with Marks.Discard.
package typeahead

import "time"

const (
	// Pause is the pause after a key that a person has typed. Pasted text comes without a pause of
	// that length, unless the line is slow.
	Pause = 150 * time.Millisecond
	// slowest bounds the pause that is waited for on a slow line.
	slowest = 2 * time.Second
	// most bounds the time of Discard outside of a bracketed paste.
	most = time.Minute
	// noticed is the time after which a person notices a delay. silence is the time for which the
	// rest of a bracketed paste is awaited.
	noticed = time.Second
	silence = time.Minute

	ctrlC = 3
)

// PauseAfter is the Pause of a line on which a piece of a text came that long after the one
// before.
func PauseAfter(gap time.Duration) time.Duration { return min(max(Pause, 3*gap), slowest) }
