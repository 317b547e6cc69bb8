//go:build linux

package view

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/screen"
	"keyway/internal/session"
	"keyway/internal/session/joblog"
	"keyway/internal/session/lines"
	"keyway/internal/session/wire"
)

// viewDead shows the output on disk of a session that has ended.
func (c *Process) viewDead(v Viewing, t *Terminal) outcome {
	i, err := c.Abandoned(v.Name)
	if err != nil {
		return outcome{err: err}
	}
	defer t.Restore()
	switch {
	case v.Start >= 0:
		_, err = joblog.Copy(i.Path, uint64(v.Start), t)
	case v.Screen && i.TTY:
		err = showLast(i, c.Window(), t.Out)
	default:
		_, err = joblog.Copy(i.Path, tailOf(i.Path, uint64(-v.Start)), t)
	}
	if err != nil {
		return outcome{err: err}
	}
	switch {
	case i.Exit != nil:
		return outcome{status: i.Exit.End()}
	case i.Alive():
		return outcome{err: keyway.Errorf(keyway.NotRunning, "%s closed the connection", c.Show(v.Name)).
			Hint("it still runs: keyway attach %s", c.Show(v.Name))}
	}
	return outcome{err: c.LostError(i)}
}

// lastBytes is the number of bytes of output that are drawn again to find the last screen. A
// screen that a program drew before those bytes is seen in part.
const lastBytes = 8 << 20

// showLast shows a terminal's content at the end of its job, the last lines and the screen, as
// text that this terminal wraps at its own width. w is used if the session's size is not known.
func showLast(i session.Info, w wire.Window, to io.Writer) error {
	if i.Exit != nil && i.Exit.Rows > 0 && i.Exit.Cols > 0 {
		w = wire.Window{Rows: i.Exit.Rows, Cols: i.Exit.Cols}
	}
	s := screen.New(int(w.Cols), int(w.Rows), screen.Options{})
	if _, err := joblog.Copy(i.Path, tailOf(i.Path, lastBytes), &lines.Drawing{Screen: s}); err != nil {
		return err
	}
	_, _ = s.Write(s.Undo(nil)) // leaves the screen of a full-screen program that was killed
	// All of the screen becomes history, which is available as text.
	fmt.Fprintf(s, "\x1b[r\x1b[%d;1H%s", w.Rows, strings.Repeat("\r\n", int(w.Rows)))
	text := bytes.ReplaceAll(s.History(nil, historyLines+int(w.Rows)), []byte("\r"), nil)
	if text = bytes.TrimRight(text, "\n"); len(text) == 0 {
		return nil
	}
	if _, err := to.Write(append(text, '\n')); err != nil {
		return wire.SinkError{Err: err}
	}
	return nil
}

func tailOf(dir string, back uint64) uint64 {
	r, closeLog, err := joblog.Open(dir)
	if err != nil {
		return 0
	}
	defer closeLog()
	return r.LineStart(back)
}

// LostError returns the error for a session without an exit record.
func (c *Process) LostError(i session.Info) error {
	return keyway.Errorf(keyway.NotRunning, "%s runs no more and left no exit code: %s", c.Show(i.Name), i.Reason).
		Hint("its output until then: keyway logs %s", c.Show(i.Name))
}
