//go:build linux

package holder

import (
	"time"

	"keyway/internal/typeahead"
)

// A paste of one viewer reaches the job's terminal in many pieces. Input of other viewers waits
// meanwhile, so that it does not end up inside the paste. If the rest does not come, the others do
// not wait for ever: the paste is ended before their input, and begun again before its rest.

const (
	// muchTyped is a number of bytes that keys do not send at once.
	muchTyped = 64
	// pasteGoesOn is the time to wait for the rest of a paste without marks, or of a mark.
	pasteGoesOn = 150 * time.Millisecond
	// longPaste is a number of bytes that do not come at once. The time to wait for the rest of a
	// longer paste without marks is longGoesOn, because it may pass through a slow line.
	longPaste  = 4 << 10
	longGoesOn = time.Second
	// markedGoesOn bounds the silence within marks: the line may be slow or broken.
	markedGoesOn = 5 * time.Second
)

// typing is the order in which viewers type.
type typing struct {
	by     *viewer         // the viewer that types or pastes, or did so last; nil: none
	over   bool            // others may type
	pieces uint64          // counts pieces of input
	marks  typeahead.Marks // in the input of the job's terminal
	gone   []leftPaste     // of processes that connect again after a renewal
}

// mayType waits until no other viewer types or pastes. It returns p as the job is to get it, and
// false in an input freeze.
func (vs *viewers) mayType(v *viewer, p []byte) ([]byte, bool) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	t := &vs.typing
	for t.by != nil && !t.over && t.by != v && !v.continues(t.by) {
		if vs.still.on {
			return p, false
		}
		vs.still.changed.Wait()
	}
	t.by, t.over = v, false
	t.pieces++
	if vs.display != nil {
		p = t.marks.Join(v.Marks, p, t.marks.Within != v.Within && vs.display.pastes())
	}
	return p, true
}

// continues reports whether v is the new connection of the earlier viewer's process, which has
// closed its former one.
func (v *viewer) continues(before *viewer) bool {
	return before.left && before.number < v.number && before.pid == v.pid && v.pid != 0
}

// continueLocked finds the marks in the input that v's process sent before a renewal. It may still
// be on its way.
func (vs *viewers) continueLocked(v *viewer) {
	for before := range vs.all {
		if v.continues(before) {
			v.Marks = before.Marks
			return
		}
	}
	for _, g := range vs.typing.gone {
		if v.pid != 0 && g.Process == v.pid {
			v.Marks = &g.Marks
		}
	}
}

// keepLocked keeps the marks in the input of v's process if a renewal has ended the connection, and
// forgets them otherwise.
func (vs *viewers) keepLocked(v *viewer) {
	kept := vs.typing.gone[:0]
	for _, g := range vs.typing.gone {
		if g.Process != v.pid {
			kept = append(kept, g)
		}
	}
	if v.left && v.pid != 0 && (v.Within || v.Cut()) {
		kept = append(kept, leftPaste{v.pid, *v.Marks})
	}
	vs.typing.gone = kept
}

// hasTyped lets others type: at once, or when the paste of v that p is a piece of has ended.
func (vs *viewers) hasTyped(v *viewer, p []byte) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if wait := v.pasting(p); wait > 0 && vs.display != nil {
		vs.freeAfterLocked(wait)
		return
	}
	vs.freeLocked()
}

// freeAfterLocked lets others type when no input has come for a while.
func (vs *viewers) freeAfterLocked(wait time.Duration) {
	pieces := vs.typing.pieces
	time.AfterFunc(wait, func() {
		vs.mu.Lock()
		defer vs.mu.Unlock()
		if vs.typing.pieces == pieces {
			vs.freeLocked()
		}
	})
}

func (vs *viewers) freeLocked() {
	vs.typing.over = true
	vs.still.changed.Broadcast()
}

// leftPaste is an unfinished paste, or mark, at the time of a renewal.
type leftPaste struct {
	Process int32 // whose input it is, or whose input others wait for; 0: none
	typeahead.Marks
}

// handOverPaste returns the paste that other viewers wait for, or that has not ended; nil if there
// is none.
func (vs *viewers) handOverPaste() *leftPaste {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	l := &leftPaste{Marks: vs.typing.marks}
	if vs.typing.by != nil && !vs.typing.over {
		l.Process = vs.typing.by.pid
	}
	if l.Process == 0 && !l.Within && !l.Cut() {
		return nil
	}
	return l
}

// goOnWithPaste keeps other viewers from typing until the paste has been continued and has ended.
func (vs *viewers) goOnWithPaste(l *leftPaste) {
	if l == nil {
		return
	}
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.typing.marks = l.Marks
	if l.Process != 0 {
		vs.typing.by = &viewer{left: true, pid: l.Process}
		vs.freeAfterLocked(markedGoesOn)
	}
}

// bulk is a pasted text without marks. It comes in pieces, most of them large.
type bulk struct {
	size int // of the large pieces, in bytes
	last time.Time
}

// follow notes a piece. It returns the time to wait for more; 0 means that it was typed.
func (b *bulk) follow(p []byte, now time.Time) time.Duration {
	if now.Sub(b.last) > b.goesOn() {
		b.size = 0
	}
	if len(p) > muchTyped {
		b.size += len(p)
		b.last = now
	}
	return b.goesOn()
}

func (b *bulk) goesOn() time.Duration {
	switch {
	case b.size > longPaste:
		return longGoesOn
	case b.size > 0:
		return pasteGoesOn
	}
	return 0
}

// pasting returns the time that others wait after p for the rest of a paste.
func (v *viewer) pasting(p []byte) time.Duration {
	switch {
	case v.Within:
		return markedGoesOn
	case v.Ended():
		return 0
	}
	wait := v.bulk.follow(p, time.Now())
	if v.Cut() {
		wait = max(wait, pasteGoesOn)
	}
	if more := len(v.Unread()) > 0; more && wait > 0 {
		wait = markedGoesOn
	}
	return wait
}
