package kernel

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPace checks that only messages that follow others closely wait, and for how long.
func TestPace(t *testing.T) {
	for name, test := range map[string]struct {
		gaps  []time.Duration // before each message
		waits int             // messages after which a later one waits
	}{
		"a message alone":          {[]time.Duration{0}, 0},
		"messages far apart":       {[]time.Duration{0, fast, 2 * fast, fast}, 0},
		"two messages":             {[]time.Duration{0, fast - 1}, 1},
		"many messages, then one":  {[]time.Duration{0, 0, time.Millisecond, 0, fast}, 3},
		"a message after a second": {[]time.Duration{0, 0, time.Second}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			var p pace
			var waited time.Duration
			for _, gap := range test.gaps {
				time.Sleep(gap)
				began := time.Now()
				p.wait()
				waited += time.Since(began)
			}
			if waited != time.Duration(test.waits)*nap {
				t.Errorf("%s: waited for %v, not for %d × %v", name, waited, test.waits, nap)
			}
		})
	}
}
