// Package typeahead discards the unread input of a terminal. A program that stops
// reading a terminal leaves the rest of a pasted text in its input queue, and the shell
// that reads next would run it.
package typeahead

import "time"

const (
	// Pause is how long nothing follows what a person has typed. Pasted text comes
	// without a pause of that length.
	Pause = 150 * time.Millisecond
	// most bounds how long Discard goes on.
	most = 5 * time.Second
)
