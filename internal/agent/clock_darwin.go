package agent

import "time"

var started = time.Now()

// asleep returns the lead of the wall clock over Go's, which stops while a Mac sleeps. A clock
// that is set forward by hand looks the same.
func asleep() time.Duration { return time.Now().Round(0).Sub(started.Round(0)) - time.Since(started) }
