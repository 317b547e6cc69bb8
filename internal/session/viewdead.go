//go:build linux

package session

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/screen"
)

// viewDead shows what is on disk of a session that has ended.
func (c *viewerProcess) viewDead(v viewing, t *tty) outcome {
	i, err := c.abandoned(v.name)
	if err != nil {
		return outcome{err: err}
	}
	defer t.restore()
	switch {
	case v.start >= 0:
		_, err = copyLog(i.path, uint64(v.start), t)
	case v.screen && i.TTY:
		err = showLast(i, c.window(), t.out)
	default:
		_, err = copyLog(i.path, tailOf(i.path, uint64(-v.start)), t)
	}
	if err != nil {
		return outcome{err: err}
	}
	switch {
	case i.Exit != nil:
		return outcome{status: i.Exit.end()}
	case i.alive():
		return outcome{err: keyway.Errorf(keyway.NotRunning, "%s closed the connection", c.show(v.name)).
			Hint("it still runs: keyway attach %s", c.show(v.name))}
	}
	return outcome{err: c.lostError(i)}
}

// lastBytes is how much of its output is drawn again to know what a terminal showed
// in the end. A program that drew all the screen before that is seen in part.
const lastBytes = 8 << 20

// showLast shows what a terminal showed when its job ended: the last lines and the
// screen, as text, for this terminal to break at its own width. w is its size if the
// session's is not known.
func showLast(i info, w window, to io.Writer) error {
	if i.Exit != nil && i.Exit.Rows > 0 && i.Exit.Cols > 0 {
		w = window{i.Exit.Rows, i.Exit.Cols}
	}
	s := screen.New(int(w.cols), int(w.rows), screen.Options{})
	if _, err := copyLog(i.path, tailOf(i.path, lastBytes), &drawing{s}); err != nil {
		return err
	}
	_, _ = s.Write(s.Undo(nil)) // a full-screen program that was killed makes way
	// All of the screen becomes history, which comes as text.
	fmt.Fprintf(s, "\x1b[r\x1b[%d;1H%s", w.rows, strings.Repeat("\r\n", int(w.rows)))
	text := bytes.ReplaceAll(s.History(nil, historyLines+int(w.rows)), []byte("\r"), nil)
	if text = bytes.TrimRight(text, "\n"); len(text) == 0 {
		return nil
	}
	if _, err := to.Write(append(text, '\n')); err != nil {
		return sinkError{err}
	}
	return nil
}

func tailOf(dir string, back uint64) uint64 {
	r, closeLog, err := openLog(dir)
	if err != nil {
		return 0
	}
	defer closeLog()
	return r.lineStart(back)
}

// lostError says what became of a session without an exit record.
func (c *viewerProcess) lostError(i info) error {
	return keyway.Errorf(keyway.NotRunning, "%s runs no more and left no exit code: %s", c.show(i.Name), i.Reason).
		Hint("its output until then: keyway logs %s", c.show(i.Name))
}
