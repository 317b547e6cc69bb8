//go:build linux

package view

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"keyway/internal/screen"
	"keyway/internal/session/wire"
	"keyway/internal/typeahead"
)

// Terminal is the terminal that a viewer runs on, or the plain files in its place.
type Terminal struct {
	In, Out, err *os.File
	Display      bool               // out is a terminal
	guards       [3]*clipboardGuard // by stream; nil: all of it may be shown
	raw          *term.State        // what to go back to; nil: not raw
	stuck        bool               // nobody reads out
	Skipped      uint64             // bytes that are missing in what it got
	escapes      escapes            // in what is typed
	log          logFile            // what output was taken from last
	title        string             // of the window, until the session sets one; empty: it stays

	mu      sync.Mutex     // guards all below
	shown   *screen.Screen // what out shows of the session; nil: nothing yet
	placed  bool           // and it fills all of it
	midLine bool           // the cursor was left in a line that is not empty
}

// Terminal is where the output of a session goes. What is shown on terminals does not
// touch the clipboard, unless the user allows it.
func (c *Process) Terminal(clipboard bool) *Terminal {
	t := &Terminal{In: c.In, Out: c.Out, err: c.Err, Display: OnTerminal(c.Out)}
	for s := range t.guards {
		if !clipboard && OnTerminal(t.to(wire.Stream(s))) {
			t.guards[s] = new(clipboardGuard)
		}
	}
	return t
}

// to is the file for a stream.
func (t *Terminal) to(s wire.Stream) *os.File {
	if s == wire.Stderr {
		return t.err
	}
	return t.Out
}

// Write writes what a job has printed.
func (t *Terminal) Write(s wire.Stream, p []byte) error {
	if g := t.guards[s]; g != nil {
		p = g.filter(p)
	}
	_, err := t.to(s).Write(p)
	return err
}

// OnTerminal reports whether f is a terminal.
func OnTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// makeRaw passes every key on as it is.
func (t *Terminal) makeRaw() error {
	if t.raw != nil {
		return nil
	}
	raw, err := term.MakeRaw(int(t.In.Fd()))
	if err != nil {
		return fmt.Errorf("the terminal cannot be switched to raw mode: %w", err)
	}
	t.raw = raw
	return nil
}

// undo switches off what the session's programs have switched on, and only that.
func (t *Terminal) undo() {
	if !t.stuck {
		_, _ = t.Out.Write(t.leave())
	}
}

// Restore leaves the terminal as it was found. What was typed for the session and read
// by nobody is thrown away: it must not become a command of the shell that is next.
func (t *Terminal) Restore() {
	if undo := t.leave(); undo != nil && !t.stuck {
		_, _ = t.Out.Write(append(undo, screen.Rest...))
	}
	if t.raw != nil {
		typeahead.Discard(t.In, time.Since(t.escapes.bulk) < bulkEnds)
		_ = term.Restore(int(t.In.Fd()), t.raw)
		t.raw = nil
	}
}

// leave is what switches off what the output has switched on, and puts the cursor
// to the end of it.
func (t *Terminal) leave() []byte {
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
func (t *Terminal) news(format string, args ...any) {
	if t.midLine {
		format = "\n" + format
	}
	t.midLine = false
	fmt.Fprintf(t.err, format+"\n", args...)
}

// extendedKeys reports whether programs have asked the terminal to send keys as control
// sequences.
func (t *Terminal) extendedKeys() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown != nil && t.shown.Keyboard().Extended()
}

// resized returns the terminal's new size.
func (t *Terminal) resized() wire.Window {
	w := t.Size()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown != nil {
		t.shown.Resize(int(w.Cols), int(w.Rows))
	}
	return w
}

// Size returns how large the terminal is; zero if it is none.
func (t *Terminal) Size() wire.Window {
	for _, f := range []*os.File{t.Out, t.In} {
		if cols, rows, err := term.GetSize(int(f.Fd())); err == nil && rows > 0 && cols > 0 {
			return wire.Window{Rows: uint16(min(rows, wire.MaxWindow)), Cols: uint16(min(cols, wire.MaxWindow))}
		}
	}
	return wire.Window{}
}

var _ wire.Sink = (*Terminal)(nil)

// Put implements wire.Sink.
func (t *Terminal) Put(s wire.Stream, p []byte) error {
	if s == wire.TTY && t.Display {
		t.begin()
	}
	err := t.Write(s, p) // first, as somebody waits for it
	if s == wire.TTY && t.Display {
		t.show(p, false)
	}
	return err
}

// Picture takes what the whole terminal is to show.
func (t *Terminal) Picture(p []byte) error {
	if t.Display {
		t.begin()
	}
	_, err := t.Out.Write(p)
	if t.Display {
		t.show(p, true)
	}
	return err
}

// begin keeps the window's title for the time after the session.
func (t *Terminal) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown != nil {
		return
	}
	w := t.Size()
	t.shown = screen.New(int(w.Cols), int(w.Rows), screen.Options{Lines: -1})
	head := screen.PushTitle(nil, t.title)
	_, _ = t.shown.Write(head)
	_, _ = t.Out.Write(head)
}

// show keeps track of what the terminal is shown.
func (t *Terminal) show(p []byte, placed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.placed = t.placed || placed
	_, _ = t.shown.Write(p)
	t.shown.Answers()
}

// Gap implements wire.Sink.
func (t *Terminal) Gap(n uint64) error {
	if t.raw != nil { // the screen is drawn anew; a number would only be in the way
		const cancel = "\x18" // a control sequence that was cut off
		_, err := t.Out.Write(append([]byte(cancel), t.leave()...))
		return err
	}
	t.Skipped += n
	_, err := fmt.Fprintf(t.err, "[%d bytes skipped]\n", n)
	return err
}

// Window is the size a new terminal gets.
func (c *Process) Window() wire.Window {
	w := (&Terminal{In: c.In, Out: c.Out}).Size()
	if w.Rows == 0 {
		return wire.Window{Rows: 24, Cols: 80}
	}
	return w
}
