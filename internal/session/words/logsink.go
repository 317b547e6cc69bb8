//go:build linux

package words

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"keyway/internal/session/joblog"
	"keyway/internal/session/lines"
	"keyway/internal/session/view"
	"keyway/internal/session/wire"
)

// While a job that may draw is followed, a changed line is left alone for a while: a program
// draws its first picture in one go and moves up in it for the next one. A program that hides
// the cursor most likely draws, and may begin with fewer rows than it has soon. Tests that
// compare what programs draw wait longer: a busy machine can stop a program between two
// pictures.
var (
	settle       = 100 * time.Millisecond // plus the time to the next tick, which is as long
	settleHidden = time.Second
	settleFirst  = 3 * time.Second // after the program has moved up further than before
)

// logSink prints a log.
type logSink struct {
	tty    *view.Terminal
	raw    bool
	follow bool

	mu sync.Mutex // guards all fields below
	progress
	lines.Collapsers
	drop    int // lines to drop
	out     bytes.Buffer
	to      wire.Stream // stream of out
	live    bool        // the job prints this output now
	timer   *time.Timer
	armed   bool
	settled [3]settling
	shown   int // rows of pending lines that are shown below
	closed  bool
	err     error // of a tick
}

// boundary is the first row that may have changed by a time.
type boundary struct {
	row uint64
	at  time.Time
}

// settling records the history of a stream that is followed.
type settling struct {
	seen  []boundary
	depth uint64
	grew  time.Time // time of the last change of depth
}

// rows returns the row up to which the rows of c have been final for long enough.
func (s *settling) rows(c *lines.Collapser, now time.Time) (row uint64) {
	if c.Depth != s.depth {
		s.depth, s.grew = c.Depth, now
	}
	wait := settle
	if c.HidesCursor() && (c.Depth == 0 || now.Sub(s.grew) < settleFirst) {
		wait = settleHidden
	}
	s.seen = append(s.seen, boundary{c.Final(), now})
	for len(s.seen) > 0 && now.Sub(s.seen[0].at) >= wait {
		row, s.seen = s.seen[0].row, s.seen[1:]
	}
	return min(row, c.Final())
}

func (c *cli) logSink(raw, follow bool) *logSink {
	l := &logSink{tty: c.Terminal(raw), raw: raw, follow: follow}
	l.files = []*os.File{c.Out, c.Err}
	l.Collapsers = lines.Collapsers{Window: lines.UnknownWindow, Emit: l.print, Exact: true}
	return l
}

var (
	_ wire.Sink      = (*logSink)(nil)
	_ wire.Resizable = (*logSink)(nil)
)

func (l *logSink) Put(s wire.Stream, p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	n := l.earlier(s, len(p))
	if n > 0 && !l.raw {
		_ = l.Of(s).Write(p[:n])
	}
	l.at += uint64(n)
	l.reach()
	if p = p[n:]; len(p) == 0 {
		return nil
	}
	l.at += uint64(len(p))
	l.reach() // the other streams
	if l.raw {
		l.wrote = true
		return errors.Join(l.tty.Put(s, l.dropped(p)), l.mark())
	}
	c := l.Of(s)
	err := c.Write(p)
	if l.live && (s == wire.TTY || c.Moved || l.shows()) {
		l.arm()
	} else {
		c.Release(c.Final())
	}
	return errors.Join(err, c.Err, l.flush(), l.mark())
}

// shows reports whether pending lines are shown as well.
func (l *logSink) shows() bool { return l.follow && l.tty.Display }

func (l *logSink) Resized(w wire.Window) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Collapsers.Resized(w)
}

// copyPast passes on what the log in dir has now, from an offset on, and returns the offset at which
// it stopped. If the job runs, that is before the newest lines, to which the job may still move up.
func (l *logSink) copyPast(dir string, at uint64, live bool) (uint64, error) {
	r, closeLog, err := joblog.Open(dir)
	if err != nil {
		return at, err
	}
	defer closeLog()
	if live {
		r = r.UpTo(max(at, r.Since(time.Now().Add(-settleFirst))))
	}
	if !l.raw {
		if l.Depths, err = lines.Measure(r, at); err != nil {
			return at, err
		}
	}
	return r.CopyTo(l, at)
}

// goesLive notes that the output from now on is printed by the job now.
func (l *logSink) goesLive() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reach()
	l.live, l.Exact = true, false
	for _, c := range l.All {
		if c != nil {
			c.Exact = false
		}
	}
	l.arm()
}

func (l *logSink) arm() {
	if l.armed || l.closed {
		return
	}
	l.armed = true
	if l.timer == nil {
		l.timer = time.AfterFunc(settle, l.tick)
	} else {
		l.timer.Reset(settle)
	}
}

// tick prints final lines that have not changed since the last tick.
func (l *logSink) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	if l.closed || l.raw {
		return
	}
	for s, c := range l.All {
		if c == nil {
			continue
		}
		c.Release(l.settled[s].rows(c, time.Now()))
		if c.Pending() {
			l.arm()
		}
		l.err = errors.Join(l.err, c.Err)
	}
	l.err = errors.Join(l.err, l.flush())
	if l.shows() && l.err == nil {
		l.err = l.show()
	}
	l.err = errors.Join(l.err, l.mark())
}

// print takes lines for flush to print.
func (l *logSink) print(s wire.Stream, p []byte) error {
	if !l.reached[s] {
		return nil
	}
	var err error
	if l.to != s || l.out.Len() > wire.MaxData {
		err = l.flush()
	}
	l.to = s
	l.out.Write(l.dropped(p))
	return err
}

// dropped returns p without the lines to drop.
func (l *logSink) dropped(p []byte) []byte {
	for l.drop > 0 && len(p) > 0 {
		n := bytes.IndexByte(p, '\n') + 1
		if n == 0 {
			return nil
		}
		l.drop--
		p = p[n:]
	}
	return p
}

func (l *logSink) flush() error {
	if l.out.Len() == 0 {
		return nil
	}
	l.erase()
	l.wrote = true
	err := l.tty.Write(l.to, l.out.Bytes())
	l.out.Reset()
	return err
}

// show shows pending lines below the printed ones, as far as there is room.
func (l *logSink) show() error {
	var rows []string
	for _, c := range l.All {
		if c != nil {
			rows = append(rows, c.Rest()...)
		}
	}
	w := l.tty.Size()
	rows = rows[max(0, len(rows)-max(1, int(w.Rows)-1)):]
	for i, row := range rows {
		line := []rune(row)
		rows[i] = string(line[:min(len(line), max(1, int(w.Cols)-1))])
	}
	l.erase()
	l.wrote = true
	l.shown = len(rows)
	_, err := l.tty.Out.WriteString(strings.Join(rows, "\r\n"))
	return err
}

func (l *logSink) erase() {
	if l.shown > 0 {
		fmt.Fprint(l.tty.Out, "\r\x1b[K"+strings.Repeat("\x1b[A\x1b[K", l.shown-1))
	}
	l.shown = 0
}

func (l *logSink) Gap(n uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := errors.Join(l.Collapsers.Gap(n), l.flush())
	n = l.skipAgain(n)
	if l.reach(); n == 0 || err != nil {
		return err
	}
	l.erase()
	l.wrote = true
	return errors.Join(l.tty.Gap(n), l.mark())
}

func (l *logSink) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	err := errors.Join(l.err, l.Collapsers.Gap(0), l.flush())
	l.erase()
	err = errors.Join(err, l.mark())
	l.tty.Restore()
	if err != nil {
		err = wire.SinkError{Err: err}
	}
	return err
}
