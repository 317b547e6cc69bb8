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
	for vs.typist != nil && vs.typist != v {
		if vs.still.on {
			return false
		}
		vs.still.changed.Wait()
	}
	vs.typist = v
	vs.pieces++
	v.follow(p)
	return true
}

// hasTyped lets others type: at once, or when a paste of v's has ended, of which p was
// a piece.
func (vs *viewers) hasTyped(v *viewer, p []byte) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	pieces := vs.pieces
	free := func() {
		if vs.pieces == pieces {
			vs.typist = nil
			vs.still.changed.Broadcast()
		}
	}
	if wait := v.pasting(p); wait > 0 && vs.display != nil {
		time.AfterFunc(wait, func() {
			vs.mu.Lock()
			defer vs.mu.Unlock()
			free()
		})
		return
	}
	free()
}

// pasting is how long others wait after p for the rest of a paste.
func (v *viewer) pasting(p []byte) time.Duration {
	switch more := len(v.Unread()) > 0; {
	case v.within, more && (len(p) > muchTyped || v.cut()):
		return markedGoesOn
	case len(p) > muchTyped || v.cut():
		return pasteGoesOn
	}
	return 0
}
