package kernel

import (
	"testing"
	"time"
)

// TestRestsAlone rests only while one kernel speaks, and nothing else is done.
func TestRestsAlone(t *testing.T) {
	var w works
	one, two := &pace{}, &pace{}
	now := time.Now()
	for i, step := range []struct {
		after time.Duration
		pace  *pace
		tasks int
		rests bool
	}{
		{0, one, 0, true},
		{nap, one, 0, true},
		{nap, two, 0, false},
		{nap, one, 0, false},
		{settled, one, 0, true},
		{nap, one, 1, false},
		{nap, one, 0, false},
		{settled, one, 0, true},
		{2 * settled, two, 0, true},
	} {
		now = now.Add(step.after)
		w.tasks = step.tasks
		if got := w.only(step.pace, now); got != step.rests {
			t.Errorf("step %d: rests %v", i, got)
		}
	}
}
