// Package typeahead discards the unread input of a terminal. A program that stops
// reading a terminal leaves the rest of a pasted text in its input queue, and the shell
// that reads next would run it.
package typeahead

import "time"

const (
	// Pause is how long nothing follows what a person has typed. Pasted text comes
	// without a pause of that length, if the line is not slow.
	Pause = 150 * time.Millisecond
	// slowest bounds the pause that is waited for on a slow line.
	slowest = 2 * time.Second
	// most bounds how long Discard goes on outside of a bracketed paste.
	most = time.Minute
	// noticed is how long a person waits before wondering, and silence how long the rest of a
	// bracketed paste is waited for.
	noticed = time.Second
	silence = time.Minute

	ctrlC = 3
)

// PauseAfter is the Pause of a line on which a piece of a text came that long after the one
// before.
func PauseAfter(gap time.Duration) time.Duration { return min(max(Pause, 3*gap), slowest) }
