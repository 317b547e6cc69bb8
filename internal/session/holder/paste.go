//go:build linux

package holder

import "time"

// What one viewer pastes reaches the job's terminal in many pieces. What others type
// meanwhile waits, so that it comes to stand within no paste.

// Marks of a paste, as terminals send them where a program wants to tell it from keys:
// CSI 200 ~ and CSI 201 ~.
const (
	pasteBegins = 0x1b_5b_32_30_30_7e
	pasteEnds   = 0x1b_5b_32_30_31_7e
	markBits    = 48
)

const (
	// muchTyped is more than keys send at once, in bytes.
	muchTyped = 64
	// pasteGoesOn is how long more is waited for of a text that has no marks, or of a mark.
	pasteGoesOn = 150 * time.Millisecond
	// longPaste is more than comes at once, in bytes: of a text that has no marks more is
	// waited for as long as longGoesOn, as it may pass through a slow line.
	longPaste  = 4 << 10
	longGoesOn = time.Second
	// markedGoesOn bounds the silence within marks: a line may be slow, or broken.
	markedGoesOn = 5 * time.Second
)

// marks finds the marks in what a viewer sends, wherever it is cut.
type marks struct {
	last   uint64 // the last bytes
	within bool   // a paste has begun and not ended
}

func (m *marks) follow(p []byte) {
	for _, c := range p {
		m.last = (m.last<<8 | uint64(c)) & (1<<markBits - 1)
		switch m.last {
		case pasteBegins:
			m.within = true
		case pasteEnds:
			m.within = false
		}
	}
}

// cut reports whether the last bytes may be those of a mark that has been cut.
func (m *marks) cut() bool {
	for n := 8; n < markBits; n += 8 {
		if m.last&(1<<n-1) == pasteBegins>>(markBits-n) {
			return true
		}
	}
	return false
}

// mayType waits until nobody else types or pastes. It reports false in an input freeze.
func (vs *viewers) mayType(v *viewer, p []byte) bool {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for vs.typist != nil && vs.typist != v && !v.continues(vs.typist) {
		if vs.still.on {
			return false
		}
		vs.still.changed.Wait()
	}
	if t := vs.typist; t != nil && t != v {
		v.marks = t.marks
	}
	vs.typist = v
	vs.pieces++
	v.follow(p)
	return true
}

// continues reports whether v is the connection on which the process goes on that has left
// the connection of the viewer before.
func (v *viewer) continues(before *viewer) bool {
	return before.left && before.number < v.number && before.pid == v.pid && v.pid != 0
}

// hasTyped lets others type: at once, or when a paste of v's has ended, of which p was
// a piece.
func (vs *viewers) hasTyped(v *viewer, p []byte) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if wait := v.pasting(p); wait > 0 && vs.display != nil {
		vs.freeAfterLocked(wait)
		return
	}
	vs.freeLocked()
}

// freeAfterLocked lets others type when nothing more has been typed for a while.
func (vs *viewers) freeAfterLocked(wait time.Duration) {
	pieces := vs.pieces
	time.AfterFunc(wait, func() {
		vs.mu.Lock()
		defer vs.mu.Unlock()
		if vs.pieces == pieces {
			vs.freeLocked()
		}
	})
}

func (vs *viewers) freeLocked() {
	vs.typist = nil
	vs.still.changed.Broadcast()
}

// leftPaste is a paste that a viewer has begun on a connection that a renewal has ended.
type leftPaste struct {
	Process int32
	Last    uint64 // as in marks
	Within  bool
}

// handOverPaste is the paste that others wait for; nil: none.
func (vs *viewers) handOverPaste() *leftPaste {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if vs.typist == nil {
		return nil
	}
	return &leftPaste{vs.typist.pid, vs.typist.last, vs.typist.within}
}

// goOnWithPaste keeps others from typing until the paste has gone on and ended.
func (vs *viewers) goOnWithPaste(l *leftPaste) {
	if l == nil {
		return
	}
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.typist = &viewer{left: true, pid: l.Process, marks: marks{last: l.Last, within: l.Within}}
	vs.freeAfterLocked(markedGoesOn)
}

// bulk is a text without marks, which comes in pieces of which most are large.
type bulk struct {
	size int // of the large pieces, in bytes
	last time.Time
}

// follow takes note of a piece, and returns how long more is waited for; 0: it was typed.
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

// pasting is how long others wait after p for the rest of a paste.
func (v *viewer) pasting(p []byte) time.Duration {
	switch {
	case v.within:
		return markedGoesOn
	case v.last == pasteEnds:
		return 0
	}
	wait := v.bulk.follow(p, time.Now())
	if v.cut() {
		wait = max(wait, pasteGoesOn)
	}
	if more := len(v.Unread()) > 0; more && wait > 0 {
		wait = markedGoesOn
	}
	return wait
}
