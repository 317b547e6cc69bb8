//go:build linux

package session

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// viewerProcess is a process that shows sessions. Answers go to out, news to err: over
// ssh both reach the user's own terminal or pipes.
type viewerProcess struct {
	registry
	in, out, err *os.File
}

// viewing says how a session is looked at.
type viewing struct {
	name      keyway.Name
	keys      bool  // read what is typed here
	input     bool  // and pass it on to the session
	screen    bool  // this is a terminal that can show the session's, if it has one
	start     int64 // offset; negative: this many bytes before the end
	again     bool  // the screen was shown before: no history
	asks      bool  // ask what Ctrl-C is to mean
	clipboard bool  // let output set the clipboard
	news      bool  // say how it ended
	whole     bool  // the job waits rather than that output is skipped
}

// historyLines are shown of a terminal that somebody comes back to.
const historyLines = 2000

// outcome is why the viewing is over. Exactly one of the fields says so.
type outcome struct {
	status   *jobEnd
	detached bool
	signal   os.Signal // this process was told to go
	err      error
}

// view shows a session until it ends or the viewer leaves, and returns the exit
// code for this process.
func (c *viewerProcess) view(v viewing) (int, error) {
	t := c.tty(v.clipboard)
	defer t.restore()
	for r := new(renewals); r.another(time.Now()); {
		out, seen, err := c.viewLive(t, v)
		switch {
		case err != nil:
			return 0, err
		case !errors.Is(out.err, errGone):
			t.restore()
			return c.conclude(v, t, out)
		case !seen.ok:
			// Ended before or while we were looking: the rest is on disk.
			t.restore()
			return c.conclude(v, t, c.viewDead(v, t))
		}
		// The holder may be there again, as a new program. The terminal stays raw: what
		// is typed meanwhile is for the session.
		t.undo()
		v.start, v.again = seen.at, true
		v.screen = v.screen && seen.tty
	}
	return 0, errGone
}

// seen is up to where a session's output was shown, if it was at all.
type seen struct {
	at  int64
	tty bool // it is that of a terminal
	ok  bool
}

// viewLive looks at the session through its holder. What is on disk of it is asked
// only if there is none: that takes longer than to find the holder.
func (c *viewerProcess) viewLive(t *tty, v viewing) (out outcome, shown seen, err error) {
	signals := newTold()
	defer signals.stop()
	h := v.hello(t)
	conn, told, err := reach(c.path(v.name), h, signals)
	if err != nil {
		var i info
		if i, err = c.settled(v.name); err != nil {
			return outcome{}, seen{}, err
		}
		if !i.alive() {
			return outcome{err: errGone}, seen{}, nil
		}
		conn, told, err = reach(i.path, h, signals)
	}
	if told != nil {
		return outcome{signal: told}, seen{}, nil
	}
	if err != nil {
		if !c.stillAlive(v.name) {
			return outcome{err: errGone}, seen{}, nil
		}
		return outcome{}, seen{}, err
	}
	defer conn.close()
	if v.screen && conn.tty {
		if err := t.makeRaw(); err != nil {
			return outcome{}, seen{}, err
		}
		c.tellHowToLeave(t, v)
		if h.Flags&flagTail != 0 { // then a picture comes before any output
			if _, err := conn.pumpOne(t); err != nil {
				return outcome{err: err}, seen{int64(conn.at), true, true}, nil
			}
		}
	}
	signals.catch()
	out, at := c.watch(conn, t, v, signals.c)
	return out, seen{at, conn.tty, true}, nil
}

// tellHowToLeave says so in a line above what the session shows, to who comes back to it,
// and in the window's title.
func (c *viewerProcess) tellHowToLeave(t *tty, v viewing) {
	t.title = c.show(v.name) + ": ~d at the start of a line leaves"
	if !v.input {
		t.title = c.show(v.name) + ": Ctrl-C leaves"
	}
	if v.news && !v.again {
		fmt.Fprintf(t.out, "[%s]\r\n", t.title)
	}
}

// told catches the signals that tell a viewer to go. To begin with it takes the Go
// runtime as long as it takes to find a session's holder, so the first picture does
// not wait for that; until then they end a viewer as they do any process.
type told struct {
	c     chan os.Signal
	catch func()
}

func newTold() told {
	c := make(chan os.Signal, 8)
	return told{c, sync.OnceFunc(func() {
		signal.Ignore(unix.SIGPIPE) // whoever writes gets an error
		signal.Notify(c, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	})}
}

func (t told) stop() { signal.Stop(t.c) }

// answerTime is how long a holder may take to answer until a viewer that is told to
// go does so with an exit code: ssh takes death by a signal for a broken connection.
const answerTime = 100 * time.Millisecond

// reach is connect, unless a signal comes first: then whoever is still connecting is
// left behind, as this process is about to end.
func reach(dir string, h hello, signals told) (conn *connection, told os.Signal, err error) {
	type result struct {
		conn *connection
		err  error
	}
	connected := make(chan result, 1)
	go func() {
		conn, err := connect(dir, h)
		connected <- result{conn, err}
	}()
	slow := time.AfterFunc(answerTime, signals.catch)
	defer func() {
		if !slow.Stop() {
			signals.catch() // has begun; nothing is caught after stop
		}
	}()
	select {
	case r := <-connected:
		return r.conn, nil, r.err
	case s := <-signals.c:
		return nil, s, nil
	}
}

func (c *viewerProcess) stillAlive(name keyway.Name) bool {
	i, err := c.abandoned(name)
	return err == nil && i.alive()
}

func (v viewing) hello(t *tty) hello {
	h := hello{Flags: flagOutput}
	if v.input {
		h.Flags |= flagInput
		if onTerminal(t.in) {
			h.Flags |= flagKeys
		}
	}
	if v.screen {
		h.Flags |= flagScreen
	}
	if v.input || v.screen {
		w := t.size()
		h.Rows, h.Cols = w.rows, w.cols
	}
	switch {
	case v.screen && v.again:
		h.Flags |= flagTail
	case v.start >= 0:
		h.From = uint64(v.start)
	case v.screen:
		h.Flags |= flagTail
		h.From = historyLines
	default:
		h.Flags |= flagTail
		h.From = uint64(-v.start)
	}
	if v.asks {
		h.Flags |= flagAsk
	}
	if v.whole {
		h.Flags |= flagWhole
	}
	return h
}

// watch runs the goroutines of a viewer: one that shows output, one that passes
// on what is typed, and this one, which waits for the first reason to stop.
func (c *viewerProcess) watch(conn *connection, t *tty, v viewing, signals <-chan os.Signal) (outcome, int64) {
	asking := &question{name: c.show(v.name), out: t.out, done: make(chan struct{})}
	conn.asked = asking.ask
	shown := make(chan outcome, 1)
	go func() {
		status, err := conn.pump(t)
		shown <- outcome{status: status, err: err}
	}()
	detached := make(chan struct{})
	keyboard := &keyboard{}
	if v.keys {
		keyboard.start(conn, t, v, asking, detached)
	}
	var out outcome
	select {
	case out = <-shown:
		if errors.Is(out.err, errGone) {
			// A holder that becomes another program still takes what was typed.
			select {
			case <-keyboard.ended():
			case s := <-signals:
				out = outcome{signal: s}
			}
		}
		conn.close()
		<-keyboard.ended()
		return out, int64(conn.at)
	case <-detached:
		out.detached = true
	case out.signal = <-signals:
	}
	// The goroutine that shows output may be stuck in a write to something that
	// nobody reads; then it is left behind, as this process is about to end.
	conn.close()
	<-keyboard.ended()
	close(asking.done)
	select {
	case <-shown:
	case <-time.After(200 * time.Millisecond):
		t.stuck = true
	}
	return out, 0
}

// conclude tells the user how the viewing ended and returns the exit code.
func (c *viewerProcess) conclude(v viewing, t *tty, out outcome) (int, error) {
	switch {
	case out.status != nil:
		if v.news || out.status.signal != 0 {
			t.news("[%s %s]", c.show(v.name), out.status)
		}
		if i, err := c.load(v.name); err == nil {
			c.tellLeft(i)
		}
		if t.skipped > 0 && v.whole && out.status.code == 0 {
			return 0, c.incomplete(v.name, t.skipped)
		}
		return out.status.code, nil
	case out.detached:
		t.news("[detached; %s]", c.goesOn(v.name))
		return 0, nil
	case out.signal != nil:
		t.midLine = true // of what the terminal shows for Ctrl-C
		t.news("[%s; stop it: keyway kill %s]", c.goesOn(v.name), c.show(v.name))
		return 128 + int(out.signal.(syscall.Signal)), nil
	}
	var own sinkError
	if errors.As(out.err, &own) && errors.Is(out.err, unix.EPIPE) {
		t.news("[nobody reads the output; %s]", c.goesOn(v.name))
		return 128 + int(unix.SIGPIPE), nil
	}
	return 0, out.err
}

// incomplete is the error of who wanted all of a session's output.
func (c *viewerProcess) incomplete(name keyway.Name, skipped uint64) error {
	return keyway.Errorf(keyway.Other, "%d bytes of the output of %s are missing here", skipped, c.show(name)).
		Hint("what its log has: keyway logs --raw %s", c.show(name))
}

func (c *viewerProcess) goesOn(name keyway.Name) string {
	return fmt.Sprintf("the job goes on as %s: keyway attach %s", c.show(name), c.show(name))
}

// tellLeft tells of what a job has left running.
func (c *viewerProcess) tellLeft(i info) {
	if i.Left > 0 {
		fmt.Fprintf(c.err, "[%s %s; end it: keyway kill %s]\n", c.show(i.Name), leftNews(i.Left), c.show(i.Name))
	}
}
