package agent

import "time"

var started = time.Now()

// asleep is how far the wall clock has got ahead of Go's, which stands still while
// a Mac sleeps. A clock that is set forward by hand looks the same.
func asleep() time.Duration { return time.Now().Round(0).Sub(started.Round(0)) - time.Since(started) }
