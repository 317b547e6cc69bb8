//go:build linux

package view

import (
	"slices"
	"time"

	"keyway/internal/typeahead"
)

// escapes finds ~d in what a user types at the start of a line, or ~. as in OpenSSH. ~~
// there is one ~. An ssh that somebody has typed has ~ as well, and passes on what it does
// not know: ~d works inside it, ~~ must be typed as ~~~~.
//
// Only a person leaves, no pasted text. That comes at once: with more before or after it
// in one piece, or more of it than anybody types in a moment. So ~d counts when nothing
// follows it for a moment, when no text came with it or in a burst right before it, and
// never within a bracketed paste.
type escapes struct {
	strokes
	view bool // who only looks on leaves with Ctrl-C as well
	// extended reports whether keys come as control sequences: then one that may be a
	// part of ~d is kept until it is complete. nil: they do not.
	extended func() bool

	inLine bool
	stage  escapeStage
	held   []byte    // of the stage
	bulk   time.Time // when more than one key came at once last
	text   int       // keys in this piece of input until now, without ends of lines
	recent burst     // in those before
}

type escapeStage byte

const (
	idle    escapeStage = iota
	tilde               // ~ was typed at the start of a line
	leaving             // and d or a dot; nothing has followed until now
)

const (
	// settled is how long nothing may follow what one key decides.
	settled = typeahead.Pause
	// bulkEnds is how long after more than one key has come at once more of it is
	// expected: it may be pasted.
	bulkEnds = 2 * time.Second
	// split is how long the rest of a key may take that comes in two pieces.
	split = 20 * time.Millisecond
	// maxTyped is more keys than a person, or a key that is held down, makes in the time
	// of settled.
	maxTyped = 64
	// maxEscape bounds what is held back with ~, in bytes.
	maxEscape = 1 << 10
)

// patience is how long more input is to be waited for until settle is called;
// negative: for ever.
func (e *escapes) patience() time.Duration {
	switch {
	case len(e.part) > 1 && e.passed > 0: // nothing waits for it
		return time.Second
	case len(e.part) > 0:
		return split
	case e.stage == leaving:
		return settled
	}
	return -1
}

// filter returns what of p goes to the session now.
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
	if keys > 1 {
		e.bulk = time.Now()
	}
	if len(e.part) > 0 && !e.keepsPart() {
		rest = append(rest, e.pass()...)
	}
	return rest
}

// keepsPart says that the beginning of a control sequence may be a key that leaves.
func (e *escapes) keepsPart() bool {
	return e.passed == 0 && (e.stage != idle || !e.inLine && !e.pasting && e.extended != nil && e.extended())
}

// settle is called when nothing came for as long as patience says. It returns what goes
// to the session, and whether the user leaves.
func (e *escapes) settle() (rest []byte, leave bool) {
	if len(e.part) > 0 { // a key that sends the beginning of a sequence, as Escape does
		part := slices.Clone(e.pass())
		e.giveUp()
		rest = append(e.release(nil), part...)
		e.inLine = true
		return rest, false
	}
	return nil, e.stage == leaving
}

// next adds to rest what of k, and of what is held, goes to the session.
func (e *escapes) next(rest []byte, k stroke) []byte {
	if k.kind == report && e.stage != idle && len(e.held) < maxEscape {
		e.held = append(e.held, k.raw...) // it keeps its place
		return rest
	}
	if k.kind != keyPressed || e.pasting {
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

// release passes on what is held: it was typed for the session.
func (e *escapes) release(rest []byte) []byte {
	if e.stage != idle {
		e.inLine = true
	}
	rest = append(rest, e.held...)
	e.stage, e.held = idle, nil
	return rest
}

// pasted reports whether what comes now is rather pasted than typed.
func (e *escapes) pasted() bool { return e.text > 0 || e.recent.keys > maxTyped }

// burst is how many keys have come lately: of more than a few, as many are forgotten in
// the time of settled as a person cannot type in it.
type burst struct {
	keys int
	at   time.Time
	now  func() time.Time // nil: time.Now
}

// forget forgets what the time has made old.
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
