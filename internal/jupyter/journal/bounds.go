package journal

import (
	"bytes"
	"errors"
	"os"
	"slices"
)

// clearBefore drops the outputs in all segments before the last one.
func (e *Execution) clearBefore() error {
	var errs []error
	for len(e.segments) > 2 {
		errs = append(errs, e.removeSegment(1))
	}
	if len(e.segments) == 2 {
		errs = append(errs, e.dropShown(0))
	}
	return errors.Join(errs...)
}

// dropShown rewrites a segment without its outputs, and with the added records.
func (e *Execution) dropShown(at int, added ...record) error {
	var kept []record
	if _, err := readFile(e.path(e.segments[at].index), func(r record) error {
		if !r.shows() {
			kept = append(kept, r)
		}
		return nil
	}); err != nil {
		return err
	}
	return e.rewrite(at, func(w *rewriter) error { return w.addAll(append(kept, added...)) })
}

// removeSegment removes a segment. It moves records that are not outputs to the next segment.
func (e *Execution) removeSegment(at int) error {
	var kept []record
	_, err := readFile(e.path(e.segments[at].index), func(r record) error {
		if !r.shows() {
			kept = append(kept, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.j.total -= e.segments[at].size
	err = os.Remove(e.path(e.segments[at].index))
	e.segments = slices.Delete(e.segments, at, at+1)
	if len(kept) > 0 {
		err = errors.Join(err, e.prepend(at, kept))
	}
	return err
}

// prepend inserts records before those of a segment.
func (e *Execution) prepend(at int, first []record) error {
	if at == len(e.segments)-1 {
		e.close()
	}
	return e.rewrite(at, func(w *rewriter) error {
		err := w.addAll(first)
		if err == nil {
			_, err = readPath(e.path(e.segments[at].index), new(lender).readAll, w.add)
		}
		if os.IsNotExist(err) { // a segment without a file: nothing was written to it yet
			err = nil
		}
		return err
	})
}

// dropMiddle removes the oldest segment after the head. It reports whether there was one.
func (e *Execution) dropMiddle(errs *[]error) bool {
	at := max(e.j.limits.Head, 1)
	if len(e.segments) < at+2 {
		return false
	}
	bytes, rest := e.segments[at].size, []record{}
	if _, err := readFile(e.path(e.segments[at].index), func(r record) error {
		if r.kind == gap {
			bytes += r.gap()
		}
		return nil
	}); err != nil {
		*errs = append(*errs, err)
	}
	if err := e.removeSegment(at); err != nil {
		*errs = append(*errs, err)
		return false
	}
	if err := e.prepend(at, append(rest, gapRecord(bytes))); err != nil {
		*errs = append(*errs, err)
	}
	return true
}

// dropAll drops all outputs of a finished execution. It reports whether there were any.
func (e *Execution) dropAll(errs *[]error) bool {
	var size int64
	for _, s := range e.segments {
		size += s.size
	}
	if !e.Finished() || size < 4<<10 {
		return false
	}
	for len(e.segments) > 1 {
		if err := e.removeSegment(0); err != nil {
			*errs = append(*errs, err)
			return false
		}
	}
	if err := e.dropShown(0, gapRecord(size)); err != nil {
		*errs = append(*errs, err)
		return false
	}
	return true
}

// owe bounds the records that wait in memory for a disk that cannot be written. Above the bound,
// outputs are dropped and counted as lost. Other records are small and stay.
func (j *Journal) owe() {
	var size int64
	for _, e := range j.queued {
		size += int64(len(e.queue))
	}
	if size <= j.limits.Owed {
		return
	}
	for _, e := range j.queued {
		queue := e.queue
		e.grow(-len(queue))
		e.queue = nil
		_, _ = readAll(bytes.NewReader(queue), func(r record) error { // cannot fail: this process has written the records
			switch {
			case !r.shows():
				e.put(r)
			case r.kind == gap:
				e.lost += r.gap()
			default:
				e.lost += int64(len(r.data))
			}
			return nil
		})
	}
}
