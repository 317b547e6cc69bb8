package stream

import (
	"math/rand/v2"
	"time"
)

// The pauses between dials.
const (
	firstPause  = 50 * time.Millisecond
	eagerPause  = 2 * time.Second // the longest pause in the eager time
	eagerTime   = time.Minute
	longPause   = 10 * time.Second
	provenAfter = time.Second // a path that lived this long was good
)

// backoff computes the pauses of one stream. The zero value begins without a pause.
type backoff struct{ tries int }

// next returns the pause before the next dial of a stream that has been without a path for the
// given time.
func (b *backoff) next(down time.Duration) time.Duration {
	b.tries++
	if b.tries == 1 {
		return 0
	}
	most := eagerPause
	if down >= eagerTime {
		most = longPause
	}
	pause := most
	if doublings := b.tries - 2; doublings < 16 {
		pause = min(most, firstPause<<doublings)
	}
	return pause - rand.N(pause/5)
}

func (b *backoff) reset() { b.tries = 0 }
