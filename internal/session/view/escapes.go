//go:build linux

package view

import (
	"slices"
	"time"

	"keyway/internal/typeahead"
)

// escapes finds ~d at the start of a line in a user's input, or ~. as in OpenSSH. ~~ there
// stands for one ~. An interactive ssh handles ~ itself and passes unknown escapes on: ~d works
// inside it, ~~ must be typed as ~~~~.
//
// Only a person's keys detach, not pasted text. Text is taken for a paste if several keys come
// in one piece, or more keys come than a person types in a moment. So ~d counts if nothing
// follows it for a moment and no other text came with it or in a burst right before it, and
// never within a bracketed paste.
type escapes struct {
	strokes
	view bool // read-only viewers also detach with Ctrl-C
	// extended reports whether keys come as control sequences. A sequence that may be a part of
	// ~d is then kept until it is complete. nil means no.
	extended func() bool

	inLine bool
	stage  escapeStage
	held   []byte        // bytes kept in this stage
	bulk   time.Time     // time at which more than one key last came at once
	pause  time.Duration // settled, or more if such pieces came slowly
	text   int           // keys in this piece of input so far, without ends of lines
	recent burst         // keys in the pieces before
}

type escapeStage byte

const (
	idle    escapeStage = iota
	tilde               // ~ was typed at the start of a line
	leaving             // and d or a dot; nothing has followed yet
)

const (
	// settled is the time in which nothing may follow the deciding key.
	settled = typeahead.Pause
	// bulkEnds is the time after several keys came at once in which more of the same paste may
	// come.
	bulkEnds = 2 * time.Second
	// stall is the pause that a busy machine or line makes in a paste now and then.
	stall = time.Second / 2
	// split is the time that the second half of a key's bytes may take.
	split = 20 * time.Millisecond
	// maxTyped is a number of keys that neither a person nor a repeating key makes within settled.
	maxTyped = 64
	// maxEscape bounds the bytes that are held back after ~.
	maxEscape = 1 << 10
)

// patience returns the time to wait for more input before settle is called; negative means for
// ever.
func (e *escapes) patience() time.Duration {
	switch {
	case len(e.part) > 1 && e.passed > 0: // nothing waits for it
		return time.Second
	case len(e.part) > 0:
		return split
	case e.stage == leaving:
		return max(settled, e.pause)
	}
	return -1
}

// filter returns the bytes that go to the session now.
func (e *escapes) filter(p []byte) (rest []byte) {
	rest = make([]byte, 0, len(p)+len(e.held)+1)
	keys := 0
	e.text = 0
	e.recent.forget()
	e.take(p, func(k stroke) {
		rest = e.next(rest, k)
		if k.kind != report {
			keys++
		}
		if k.kind != report && !k.endsLine() {
			e.text++
		}
	})
	e.recent.add(keys)
	switch gap := time.Since(e.bulk); {
	case gap > bulkEnds:
		e.pause = settled
	case keys > 1:
		e.pause = max(e.pause, typeahead.PauseAfter(gap))
	}
	if keys > 1 {
		e.bulk = time.Now()
	}
	if len(e.part) > 0 && !e.keepsPart() {
		rest = append(rest, e.pass()...)
	}
	return rest
}

// keepsPart reports whether the incomplete control sequence may be a key that detaches.
func (e *escapes) keepsPart() bool {
	return e.passed == 0 && (e.stage != idle || !e.inLine && !e.marks.Within && e.extended != nil && e.extended())
}

// settle is called when no input came for the time that patience returned. It returns the bytes
// that go to the session, and whether the user detaches.
func (e *escapes) settle() (rest []byte, leave bool) {
	if len(e.part) > 0 { // a key that sends only the start of a sequence, such as Escape
		part := slices.Clone(e.pass())
		e.giveUp()
		rest = append(e.release(nil), part...)
		e.inLine = true
		return rest, false
	}
	return nil, e.stage == leaving
}

// next appends to rest the bytes of k, and those held, that go to the session.
func (e *escapes) next(rest []byte, k stroke) []byte {
	if k.kind == report && e.stage != idle && len(e.held) < maxEscape {
		e.held = append(e.held, k.raw...) // it keeps its place in the order
		return rest
	}
	if k.kind != keyPressed || e.marks.Within {
		if k.kind != report {
			rest = e.release(rest)
			e.inLine = true
		}
		return append(rest, k.raw...)
	}
	if e.view && k.key == ctrlC {
		rest = e.release(rest)
		e.stage = leaving
		return rest
	}
	switch {
	case e.stage == tilde && (k.key == 'd' || k.key == '.'):
		e.stage, e.held = leaving, append(e.held, k.raw...)
		return rest
	case e.stage == tilde && k.key == '~' && !e.pasted():
		e.stage, e.held, e.inLine = idle, nil, true
		return append(rest, k.raw...)
	case e.stage != idle:
		rest = e.release(rest)
	case !e.inLine && k.key == '~' && !k.sent && !e.pasted():
		e.stage, e.held = tilde, append(e.held[:0], k.raw...)
		return rest
	}
	e.inLine = !k.endsLine()
	return append(rest, k.raw...)
}

// release passes the held bytes on: they were typed for the session.
func (e *escapes) release(rest []byte) []byte {
	if e.stage != idle {
		e.inLine = true
	}
	rest = append(rest, e.held...)
	e.stage, e.held = idle, nil
	return rest
}

// pasted reports whether the present input is more likely pasted than typed.
func (e *escapes) pasted() bool { return e.text > 0 || e.recent.keys > maxTyped }

// burst counts the keys that have come lately. For every settled that passes, it forgets as
// many as a person cannot type in that time.
type burst struct {
	keys int
	at   time.Time
	now  func() time.Time // nil: time.Now
}

// forget drops keys that are too old.
func (b *burst) forget() {
	now := time.Now
	if b.now != nil {
		now = b.now
	}
	passed := min(now().Sub(b.at), 2*settled)
	b.keys = max(0, b.keys-int(maxTyped*passed/settled))
	b.at = now()
}

func (b *burst) add(keys int) { b.keys = min(b.keys+keys, 2*maxTyped) }
