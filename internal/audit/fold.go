package audit

import (
	"cmp"
	"slices"
	"time"
)

// Bounds on the refusals that are written one by one.
const (
	foldSame    = 5                // of one kind in foldWindow
	foldAsker   = 100              // of one asker at once, and then one in foldAskerIn
	foldAskerIn = 10 * time.Second //
	foldTotal   = 300              // of all askers at once, and then one in foldTotalIn
	foldTotalIn = 5 * time.Second  //
	foldWindow  = time.Minute      // after which a kind is new again
	foldFlush   = 5 * time.Second  // a count is written when nothing came for so long, or
	foldLatest  = time.Minute      // after so long while more come
	foldAskers  = 64               // that are told apart
	foldForget  = 10 * time.Minute // after which an asker is new again
)

// Fold keeps refusals from filling the log: it lets the first of each kind pass and
// counts the others, and writes each count as one event (Event.More) when the asker
// pauses. None is left out of the counts. The zero value is ready; it is not safe for
// concurrent use.
type Fold struct {
	total  bucket
	askers map[asker]*asked
	kinds  map[Event]*folded // by the event without what differs between repeats
}

// asker identifies a refused peer, as far as that is certain enough to count by.
type asker struct {
	remote bool
	from   string
	pid    int
}

type asked struct {
	bucket
	rest folded    // refusals that are counted without regard to their kind
	seen time.Time // last
}

// folded is a count that is not written yet.
type folded struct {
	last        Event
	seen        int // since the first
	more        uint64
	first, when time.Time // when the count began, when it rose last
	since       time.Time // of the window
}

// bucket holds permissions to write, and fills slowly. The zero bucket is full.
type bucket struct {
	used float64
	at   time.Time
}

func (b *bucket) level(size float64, every time.Duration, now time.Time) bool {
	if d := now.Sub(b.at); d > 0 {
		b.used = max(0, b.used-float64(d)/float64(every))
		b.at = now
	}
	return b.used+1 <= size
}

// Take returns the events to be written now for a refusal: the counts that are due, and the refusal
// itself if it is new.
func (f *Fold) Take(e Event, now time.Time) []Event {
	due := f.Due(now)
	if f.kinds == nil {
		f.kinds, f.askers = map[Event]*folded{}, map[asker]*asked{}
	}
	who := f.asker(e)
	who.seen = now
	if k := f.kinds[kindOf(e)]; k != nil {
		if k.seen++; k.seen > foldSame {
			k.count(e, now)
			return due
		}
	}
	if !who.level(foldAsker, foldAskerIn, now) || !f.total.level(foldTotal, foldTotalIn, now) {
		who.rest.count(e, now)
		return due
	}
	who.used++
	f.total.used++
	if f.kinds[kindOf(e)] == nil {
		f.kinds[kindOf(e)] = &folded{seen: 1, since: now}
	}
	return append(due, e)
}

func (f *Fold) asker(e Event) *asked {
	a := asker{e.Remote, e.FromKey, e.PID}
	if f.askers[a] == nil && len(f.askers) >= foldAskers {
		a = asker{} // all others together
	}
	if f.askers[a] == nil {
		f.askers[a] = &asked{}
	}
	return f.askers[a]
}

func (k *folded) count(e Event, now time.Time) {
	if k.more == 0 {
		k.first = now
	}
	k.last, k.when = e, now
	k.more++
}

// due reports whether the count is to be written.
func (k *folded) due(now time.Time) bool {
	return k.more > 0 && (now.Sub(k.when) >= foldFlush || now.Sub(k.first) >= foldLatest)
}

func (k *folded) take() Event {
	e := k.last
	e.More, e.Time, e.Connection = k.more, k.when, 0
	k.more = 0
	return e
}

// Due returns the counts that are due.
func (f *Fold) Due(now time.Time) []Event { return f.flush(now, false) }

// All gives every count: before an event that must not come before them, and at the
// end.
func (f *Fold) All(now time.Time) []Event { return f.flush(now, true) }

func (f *Fold) flush(now time.Time, all bool) (events []Event) {
	for kind, k := range f.kinds {
		if k.more > 0 && all || k.due(now) {
			events = append(events, k.take())
		}
		if k.more == 0 && now.Sub(k.since) >= foldWindow {
			delete(f.kinds, kind)
		}
	}
	for who, a := range f.askers {
		if a.rest.more > 0 && all || a.rest.due(now) {
			e := a.rest.take()
			e.Rule, e.Reason = foldedRule, "refusals of several kinds; this is the last of them"
			events = append(events, e)
		}
		if a.rest.more == 0 && now.Sub(a.seen) >= foldForget {
			delete(f.askers, who)
		}
	}
	slices.SortFunc(events, func(x, y Event) int { return cmp.Or(x.Time.Compare(y.Time), cmp.Compare(x.Reason, y.Reason)) })
	return events
}

const foldedRule = "built in: folded"

// kindOf returns e without the parts that differ between repeats.
func kindOf(e Event) Event {
	e.Seq, e.Prev, e.Time, e.Connection, e.More = 0, "", time.Time{}, 0, 0
	return e
}
