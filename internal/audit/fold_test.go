package audit

import (
	"fmt"
	"testing"
	"time"
)

// stand returns the number of refusals that events represent.
func stand(events []Event) (n uint64) {
	for _, e := range events {
		if e.More > 0 {
			n += e.More
		} else {
			n++
		}
	}
	return n
}

// TestFold checks that every refusal is counted, and that many refusals take few lines.
func TestFold(t *testing.T) {
	start := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		event func(i int) Event
		lines int // at most, for 20,000 in 90 s
	}{
		"the same again": {func(int) Event {
			return Event{Event: "sign", Verdict: "denied", Request: Request{Remote: true, FromKey: "a"}}
		}, foldSame + 10},
		"another user each": {func(i int) Event {
			return Event{Event: "sign", Verdict: "denied", Request: Request{Remote: true, User: fmt.Sprint(i)}}
		}, 130},
		"a new connection": {func(i int) Event {
			return Event{Event: "sign", Verdict: "denied", Request: Request{Connection: uint64(i)}}
		}, foldSame + 10},
		"another hop each": {func(i int) Event {
			return Event{Event: "sign", Verdict: "denied", Request: Request{Remote: true, FromKey: fmt.Sprint(i)}}
		}, foldTotal + 30 + 3*foldAskers},
		"another hop and user each": {func(i int) Event {
			return Event{Event: "sign", Verdict: "denied", Request: Request{Remote: true, FromKey: fmt.Sprint(i % 1000), User: fmt.Sprint(i)}}
		}, foldTotal + 30 + 3*foldAskers},
	} {
		var f Fold
		var written []Event
		const n = 20_000
		for i := range n {
			written = append(written, f.Take(c.event(i), start.Add(time.Duration(i)*4500*time.Microsecond))...)
		}
		written = append(written, f.All(start.Add(2*time.Minute))...)
		if got := stand(written); got != n || len(written) > c.lines {
			t.Errorf("%s: %d lines for %d refusals of %d", name, len(written), got, n)
		}
		if len(f.kinds) > foldTotal+100 || len(f.askers) > foldAskers+1 {
			t.Errorf("%s: it remembers %d kinds and %d askers", name, len(f.kinds), len(f.askers))
		}
	}
}

func TestFoldLetsThePersonRead(t *testing.T) {
	var f Fold
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	e := Event{Event: "sign", Verdict: "denied", Reason: "no rule allows it"}
	for i := range 20 {
		got := f.Take(e, now)
		if (len(got) == 1) != (i < foldSame) {
			t.Errorf("the %d. is %d lines", i+1, len(got))
		}
		now = now.Add(time.Millisecond)
	}
	if got := f.Due(now); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	got := f.Due(now.Add(foldFlush))
	if len(got) != 1 || got[0].More != 15 || got[0].Reason != e.Reason {
		t.Errorf("%+v", got)
	}
	if got := f.Take(e, now.Add(2*foldWindow)); len(got) != 1 || got[0].More != 0 {
		t.Errorf("after a while it is news again: %+v", got)
	}
	if len(f.All(now)) != 0 {
		t.Error("it is counted twice")
	}
}
