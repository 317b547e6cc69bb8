//go:build linux

package view

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
	"keyway/internal/pipe"
	"keyway/internal/session"
	"keyway/internal/session/wire"
)

// Process is a process that shows sessions. Answers go to out, news to err: over ssh, both
// reach the user's own terminal or pipes.
type Process struct {
	session.Registry
	In, Out, Err *os.File
}

// Viewing says how a session is shown.
type Viewing struct {
	Name      keyway.Name
	Keys      bool  // read the keyboard here
	Input     bool  // and pass the input on to the session
	Screen    bool  // this terminal can show the session's, if it has one
	Start     int64 // offset; negative: this many bytes before the end
	again     bool  // the screen was shown before: no history
	Asks      bool  // ask what Ctrl-C is to mean
	Clipboard bool  // let output set the clipboard
	News      bool  // print how it ended
	Whole     bool  // the job waits for this viewer, and no output is skipped
}

// historyLines is the number of lines that a returning user is shown.
const historyLines = 2000

// outcome is the reason for which the viewing is over. Exactly one of the fields is set.
type outcome struct {
	status   *session.End
	detached bool
	killed   bool      // detached from a job that is being killed
	signal   os.Signal // this process received the signal
	err      error
}

// View shows a session until it ends or the viewer leaves, and returns the exit
// code for this process.
func (c *Process) View(v Viewing) (int, error) {
	t := c.Terminal(v.Clipboard)
	defer t.Restore()
	if v.Whole {
		pipe.Widen(pipe.Widest, c.Out)
	}
	for r := new(wire.Renewals); r.Another(time.Now()); {
		out, seen, err := c.viewLive(t, v)
		switch {
		case err != nil:
			return 0, err
		case !errors.Is(out.err, wire.ErrGone):
			t.Restore()
			return c.conclude(v, t, out)
		case !seen.ok:
			// It ended before or during the viewing: the rest is on disk.
			t.Restore()
			return c.conclude(v, t, c.viewDead(v, t))
		}
		// The holder may be back, as a new program. The terminal stays raw: input meanwhile is
		// for the session.
		t.undo()
		v.Start, v.again = seen.at, true
		v.Screen = v.Screen && seen.tty
	}
	return 0, wire.ErrGone
}

// seen is the offset up to which a session's output was shown, if any was.
type seen struct {
	at  int64
	tty bool // it is a terminal's
	ok  bool
}

// viewLive shows the session through its holder. It reads the files of the session only if
// there is no holder: finding the holder is faster.
func (c *Process) viewLive(t *Terminal, v Viewing) (out outcome, shown seen, err error) {
	signals := newTold()
	defer signals.stop()
	h := v.hello(t)
	t.log.close() // another session may have the name now
	t.log = logFile{}
	conn, told, err := reach(c.Path(v.Name), h, signals)
	if err != nil {
		var i session.Info
		if i, err = c.Settled(v.Name); err != nil {
			return outcome{}, seen{}, err
		}
		if !i.Alive() {
			return outcome{err: wire.ErrGone}, seen{}, nil
		}
		conn, told, err = reach(i.Path, h, signals)
	}
	if told != nil {
		return outcome{signal: told}, seen{}, nil
	}
	if err != nil {
		if !c.stillAlive(v.Name) {
			return outcome{err: wire.ErrGone}, seen{}, nil
		}
		return outcome{}, seen{}, err
	}
	defer conn.Close()
	if v.Screen && conn.TTY {
		if err := t.makeRaw(); err != nil {
			return outcome{}, seen{}, err
		}
		c.tellHowToLeave(t, v)
		if h.Flags&wire.FlagTail != 0 { // a picture then comes before any output
			if _, err := conn.PumpOne(t); err != nil {
				return outcome{err: err}, seen{int64(conn.At), true, true}, nil
			}
		}
	}
	signals.catch()
	out, at := c.watch(conn, t, v, signals.c)
	return out, seen{at, conn.TTY, true}, nil
}

// tellHowToLeave shows a returning user how to detach, in a line above the session's output and
// in the window's title.
func (c *Process) tellHowToLeave(t *Terminal, v Viewing) {
	t.title = c.Show(v.Name) + ": ~d at the start of a line leaves"
	if !v.Input {
		t.title = c.Show(v.Name) + ": Ctrl-C leaves"
	}
	if v.News && !v.again {
		fmt.Fprintf(t.Out, "[%s]\r\n", t.title)
	}
}

// told catches the signals that end a viewer. The Go runtime needs as long to begin that as a
// viewer needs to find a session's holder. So the first picture does not wait for it, and until
// then the signals have their default effect.
type told struct {
	c     chan os.Signal
	catch func()
}

func newTold() told {
	c := make(chan os.Signal, 8)
	return told{c, sync.OnceFunc(func() {
		signal.Ignore(unix.SIGPIPE) // a write returns an error instead
		signal.Notify(c, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	})}
}

func (t told) stop() { signal.Stop(t.c) }

// answerTime is the time that a holder has to answer once the viewer is told to end. After it,
// the viewer exits with a code: ssh takes death by a signal for a broken connection.
const answerTime = 100 * time.Millisecond

// reach is connect, unless a signal comes first. Then it leaves a goroutine behind that still
// connects, because this process is about to end.
func reach(dir string, h wire.Hello, signals told) (conn *wire.Connection, told os.Signal, err error) {
	type result struct {
		conn *wire.Connection
		err  error
	}
	connected := make(chan result, 1)
	go func() {
		conn, err := wire.Connect(dir, h)
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

func (c *Process) stillAlive(name keyway.Name) bool {
	i, err := c.Abandoned(name)
	return err == nil && i.Alive()
}

func (v Viewing) hello(t *Terminal) wire.Hello {
	h := wire.Hello{Flags: wire.FlagOutput}
	if v.Input {
		h.Flags |= wire.FlagInput
		if OnTerminal(t.In) {
			h.Flags |= wire.FlagKeys
		}
	}
	if v.Screen {
		h.Flags |= wire.FlagScreen
	}
	if v.Input || v.Screen {
		w := t.Size()
		h.Rows, h.Cols = w.Rows, w.Cols
	}
	switch {
	case v.Screen && v.again:
		h.Flags |= wire.FlagTail
	case v.Start >= 0:
		h.From = uint64(v.Start)
	case v.Screen:
		h.Flags |= wire.FlagTail
		h.From = historyLines
	default:
		h.Flags |= wire.FlagTail
		h.From = uint64(-v.Start)
	}
	if v.Asks {
		h.Flags |= wire.FlagAsk
	}
	if v.Whole {
		h.Flags |= wire.FlagWhole
		if t.takesLog() {
			h.Flags |= wire.FlagLog
		}
	}
	return h
}

// watch runs the goroutines of a viewer: one shows output, one passes input on, and this one
// waits for the first reason to stop.
func (c *Process) watch(conn *wire.Connection, t *Terminal, v Viewing, signals <-chan os.Signal) (outcome, int64) {
	asking := &question{name: c.Show(v.Name), out: t.Out, done: make(chan struct{})}
	conn.Asked = asking.ask
	shown := make(chan outcome, 1)
	go func() {
		status, err := conn.Pump(t)
		shown <- outcome{status: status, err: err}
	}()
	detached := make(chan struct{})
	keyboard := &keyboard{}
	if v.Keys {
		keyboard.start(conn, t, v, asking, detached)
	}
	var out outcome
	select {
	case out = <-shown:
		if errors.Is(out.err, wire.ErrGone) {
			// A holder that becomes another program still takes the input.
			select {
			case <-keyboard.ended():
			case s := <-signals:
				out = outcome{signal: s}
			}
		}
		conn.Close()
		<-keyboard.ended()
		return out, int64(conn.At)
	case <-detached:
		out.detached = true
	case out.signal = <-signals:
	}
	// The goroutine that shows output may be stuck in a write without a reader. It is then left
	// behind, because this process is about to end.
	conn.Close()
	<-keyboard.ended()
	close(asking.done)
	out.killed = asking.kills // no more input comes
	select {
	case <-shown:
	case <-time.After(200 * time.Millisecond):
		t.stuck = true
	}
	return out, 0
}

// conclude prints how the viewing ended, and returns the exit code.
func (c *Process) conclude(v Viewing, t *Terminal, out outcome) (int, error) {
	switch {
	case out.status != nil:
		if v.News || out.status.Signal != 0 {
			t.news("[%s %s]", c.Show(v.Name), out.status)
		}
		if i, err := c.Load(v.Name); err == nil {
			c.TellLeft(i)
		}
		if t.Skipped > 0 && v.Whole && out.status.Code == 0 {
			return 0, c.Incomplete(v.Name, t.Skipped)
		}
		if t.input.cut && out.status.Code == 0 {
			return 1, nil // the reason has been printed
		}
		return out.status.Code, nil
	case out.detached:
		becomes := c.goesOn(v.Name)
		if out.killed {
			becomes = c.Show(v.Name) + " is being killed"
		}
		t.news("[detached; %s]", becomes)
		return 0, nil
	case out.signal != nil:
		t.midLine = true // the terminal shows ^C
		t.news("[%s; stop it: keyway kill %s]", c.goesOn(v.Name), c.Show(v.Name))
		return 128 + int(out.signal.(syscall.Signal)), nil
	}
	var own wire.SinkError
	if errors.As(out.err, &own) && errors.Is(out.err, unix.EPIPE) {
		t.news("[nobody reads the output; %s]", c.goesOn(v.Name))
		return 128 + int(unix.SIGPIPE), nil
	}
	return 0, out.err
}

// Incomplete returns the error for a viewer that wanted all output of a session and has missed
// skipped bytes of it.
func (c *Process) Incomplete(name keyway.Name, skipped uint64) error {
	return keyway.Errorf(keyway.Other, "%d bytes of the output of %s are missing here", skipped, c.Show(name)).
		Hint("see what its log has: keyway logs --raw %s", c.Show(name))
}

func (c *Process) goesOn(name keyway.Name) string {
	shown := c.Show(name)
	return "the job goes on as " + shown + ": keyway attach " + shown
}

// TellLeft prints the number of processes that a job has left running.
func (c *Process) TellLeft(i session.Info) {
	if i.Left > 0 {
		fmt.Fprintf(c.Err, "[%s %s; end it: keyway kill %s]\n", c.Show(i.Name), session.LeftNews(i.Left), c.Show(i.Name))
	}
}
