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
)

// Terminal is the terminal that a viewer runs on, or the plain files in its place.
type Terminal struct {
	In, Out, err *os.File
	Display      bool               // out is a terminal
	guards       [3]*clipboardGuard // by stream; nil: everything may be shown
	raw          *term.State        // the state to restore; nil: not raw
	stuck        bool               // no reader for out
	Skipped      uint64             // bytes that were not written to it
	input        input              // the user's
	escapes      escapes            // in the user's input
	log          logFile            // the segment from which output was read last
	title        string             // window title until the session sets one; empty: unchanged

	mu      sync.Mutex     // guards all fields below
	shown   *screen.Screen // model of what out shows; nil: nothing yet
	placed  bool           // the session fills all of out
	midLine bool           // the cursor was left in a line that is not empty
}

// Terminal returns the destination of a session's output. On a terminal, output does not touch
// the clipboard, unless the user allows it.
func (c *Process) Terminal(clipboard bool) *Terminal {
	t := &Terminal{In: c.In, Out: c.Out, err: c.Err, Display: OnTerminal(c.Out)}
	for s := range t.guards {
		if !clipboard && OnTerminal(t.to(wire.Stream(s))) {
			t.guards[s] = new(clipboardGuard)
		}
	}
	return t
}

// to returns the file for a stream.
func (t *Terminal) to(s wire.Stream) *os.File {
	if s == wire.Stderr {
		return t.err
	}
	return t.Out
}

// Write writes output of a job.
func (t *Terminal) Write(s wire.Stream, p []byte) error {
	if g := t.guards[s]; g != nil {
		p = g.filter(p)
	}
	_, err := t.to(s).Write(p)
	return err
}

// OnTerminal reports whether f is a terminal.
func OnTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// makeRaw switches the terminal to raw mode.
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

// undo switches off the modes that the session's programs have switched on, and only those.
func (t *Terminal) undo() {
	if !t.stuck {
		_, _ = t.Out.Write(t.leave())
	}
}

// Restore restores the terminal. It discards input that was typed for the session and not read:
// it must not become a command of the next shell.
func (t *Terminal) Restore() {
	if undo := t.leave(); undo != nil && !t.stuck {
		_, _ = t.Out.Write(append(undo, screen.Rest...))
	}
	if t.raw != nil {
		wait := time.Duration(0)
		if time.Since(t.escapes.bulk) < bulkEnds {
			wait = max(t.escapes.pause, stall)
		}
		t.escapes.marks.Discard(t.In, t.Out, wait)
		_ = term.Restore(int(t.In.Fd()), t.raw)
		t.raw = nil
	}
}

// leave returns the bytes that switch off the modes that the output has switched on, and move the
// cursor to its end.
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

// news prints a line for the user below the session's output.
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

// Size returns the size of the terminal; zero if it is none.
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
		t.begin("")
	}
	err := t.Write(s, p) // first, because a user waits for it
	if s == wire.TTY && t.Display {
		t.show(p, false)
	}
	return err
}

// softReset is DECSTR, with which a picture begins.
const softReset = "\x1b[!p"

// Picture writes bytes that draw the whole terminal.
func (t *Terminal) Picture(p []byte) error {
	if t.Display && t.begin(softReset) {
		p = bytes.Replace(p, []byte(softReset), nil, 1)
	}
	_, err := t.Out.Write(p)
	if t.Display {
		t.show(p, true)
	}
	return err
}

// begin saves the window's title and modes after the bytes in head, to restore them after the
// session. It reports false if they are saved already.
func (t *Terminal) begin(head string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown != nil {
		return false
	}
	w := t.Size()
	t.shown = screen.New(int(w.Cols), int(w.Rows), screen.Options{Lines: -1})
	saved := screen.PushTitle([]byte(head+screen.SaveModes), t.title)
	_, _ = t.shown.Write(saved)
	_, _ = t.Out.Write(saved)
	return true
}

// show updates the model of the terminal.
func (t *Terminal) show(p []byte, placed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.placed = t.placed || placed
	_, _ = t.shown.Write(p)
	t.shown.Answers()
}

// Gap implements wire.Sink.
func (t *Terminal) Gap(n uint64) error {
	if t.raw != nil { // the screen is redrawn; a number would only disturb
		const cancel = "\x18" // ends a control sequence that was cut off
		_, err := t.Out.Write(append([]byte(cancel), t.leave()...))
		return err
	}
	t.Skipped += n
	_, err := fmt.Fprintf(t.err, "[%d bytes skipped]\n", n)
	return err
}

// Window returns the size for a new terminal.
func (c *Process) Window() wire.Window {
	w := (&Terminal{In: c.In, Out: c.Out}).Size()
	if w.Rows == 0 {
		return wire.Window{Rows: 24, Cols: 80}
	}
	return w
}
