//go:build linux

package session

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"keyway/internal/screen"
	"keyway/internal/typeahead"
)

// tty is the terminal that a viewer runs on, or the plain files in its place.
type tty struct {
	in, out, err *os.File
	display      bool               // out is a terminal
	guards       [3]*clipboardGuard // by stream; nil: all of it may be shown
	raw          *term.State        // what to go back to; nil: not raw
	stuck        bool               // nobody reads out
	skipped      uint64             // bytes that are missing in what it got
	escapes      escapes            // in what is typed
	title        string             // of the window, until the session sets one; empty: it stays

	mu      sync.Mutex     // guards all below
	shown   *screen.Screen // what out shows of the session; nil: nothing yet
	placed  bool           // and it fills all of it
	midLine bool           // the cursor was left in a line that is not empty
}

// tty is where the output of a session goes. What is shown on terminals does not
// touch the clipboard, unless the user allows it.
func (c *viewerProcess) tty(clipboard bool) *tty {
	t := &tty{in: c.in, out: c.out, err: c.err, display: onTerminal(c.out)}
	for s := range t.guards {
		if !clipboard && onTerminal(t.to(stream(s))) {
			t.guards[s] = new(clipboardGuard)
		}
	}
	return t
}

// to is the file for a stream.
func (t *tty) to(s stream) *os.File {
	if s == stderr {
		return t.err
	}
	return t.out
}

// write writes what a job has printed.
func (t *tty) write(s stream, p []byte) error {
	if g := t.guards[s]; g != nil {
		p = g.filter(p)
	}
	_, err := t.to(s).Write(p)
	return err
}

func onTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// makeRaw passes every key on as it is.
func (t *tty) makeRaw() error {
	if t.raw != nil {
		return nil
	}
	raw, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return fmt.Errorf("the terminal cannot be switched to raw mode: %w", err)
	}
	t.raw = raw
	return nil
}

// undo switches off what the session's programs have switched on, and only that.
func (t *tty) undo() {
	if !t.stuck {
		_, _ = t.out.Write(t.leave())
	}
}

// restore leaves the terminal as it was found. What was typed for the session and read
// by nobody is thrown away: it must not become a command of the shell that is next.
func (t *tty) restore() {
	if undo := t.leave(); undo != nil && !t.stuck {
		_, _ = t.out.Write(append(undo, screen.Rest...))
	}
	if t.raw != nil {
		typeahead.Discard(t.in, time.Since(t.escapes.bulk) < bulkEnds)
		_ = term.Restore(int(t.in.Fd()), t.raw)
		t.raw = nil
	}
}

// leave is what switches off what the output has switched on, and puts the cursor
// to the end of it.
func (t *tty) leave() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown == nil {
		return nil
	}
	undo := t.shown.Undo(nil)
	_, _ = t.shown.Write(undo)
	col, _ := t.shown.Cursor()
	t.midLine = col > 0
	if lines := bytes.Count(t.shown.Text(nil), []byte("\n")); t.placed && lines > 0 {
		undo = fmt.Appendf(undo, "\x1b[%d;1H", lines)
		t.midLine = true
	}
	t.shown, t.placed = nil, false
	return undo
}

// news prints a line for the user below what the session shows.
func (t *tty) news(format string, args ...any) {
	if t.midLine {
		format = "\n" + format
	}
	t.midLine = false
	fmt.Fprintf(t.err, format+"\n", args...)
}

// extendedKeys reports whether programs have asked the terminal to send keys as control
// sequences.
func (t *tty) extendedKeys() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown != nil && t.shown.Keyboard().Extended()
}

// resized returns the terminal's new size.
func (t *tty) resized() window {
	w := t.size()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown != nil {
		t.shown.Resize(int(w.cols), int(w.rows))
	}
	return w
}

func (t *tty) size() window {
	for _, f := range []*os.File{t.out, t.in} {
		if cols, rows, err := term.GetSize(int(f.Fd())); err == nil && rows > 0 && cols > 0 {
			return window{rows: uint16(min(rows, maxWindow)), cols: uint16(min(cols, maxWindow))}
		}
	}
	return window{}
}

var _ sink = (*tty)(nil)

func (t *tty) put(s stream, p []byte) error {
	if s == terminal && t.display {
		t.begin()
	}
	err := t.write(s, p) // first, as somebody waits for it
	if s == terminal && t.display {
		t.show(p, false)
	}
	return err
}

// picture takes what the whole terminal is to show.
func (t *tty) picture(p []byte) error {
	if t.display {
		t.begin()
	}
	_, err := t.out.Write(p)
	if t.display {
		t.show(p, true)
	}
	return err
}

// begin keeps the window's title for the time after the session.
func (t *tty) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown != nil {
		return
	}
	w := t.size()
	t.shown = screen.New(int(w.cols), int(w.rows), screen.Options{Lines: -1})
	head := screen.PushTitle(nil, t.title)
	_, _ = t.shown.Write(head)
	_, _ = t.out.Write(head)
}

// show keeps track of what the terminal is shown.
func (t *tty) show(p []byte, placed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.placed = t.placed || placed
	_, _ = t.shown.Write(p)
	t.shown.Answers()
}

func (t *tty) gap(n uint64) error {
	if t.raw != nil { // the screen is drawn anew; a number would only be in the way
		const cancel = "\x18" // a control sequence that was cut off
		_, err := t.out.Write(append([]byte(cancel), t.leave()...))
		return err
	}
	t.skipped += n
	_, err := fmt.Fprintf(t.err, "[%d bytes skipped]\n", n)
	return err
}

// window is the size a new terminal gets.
func (c *viewerProcess) window() window {
	w := (&tty{in: c.in, out: c.out}).size()
	if w.rows == 0 {
		return window{rows: 24, cols: 80}
	}
	return w
}
