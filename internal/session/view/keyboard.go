//go:build linux

package view

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/session/wire"
)

// keyboard passes the user's input and the size of the terminal on. The zero value passes
// nothing.
type keyboard struct {
	stop func() // ends the reading
	done chan struct{}
}

// start begins to read. detached is closed when the user detaches.
func (k *keyboard) start(conn *wire.Connection, t *Terminal, v Viewing, asking *question, detached chan struct{}) {
	in, err := newInterruptible(t.In)
	if err != nil {
		return
	}
	resized := make(chan os.Signal, 1)
	k.done = make(chan struct{})
	k.stop = sync.OnceFunc(func() {
		in.stop()
		signal.Stop(resized)
		close(resized)
	})
	var both sync.WaitGroup
	both.Go(func() {
		defer in.release()
		to := forward{conn: conn, in: t.In, input: &t.input, asking: asking, mute: !v.Input}
		if OnTerminal(t.In) {
			to.escapes = &t.escapes
			to.escapes.view, to.escapes.extended = to.mute, t.extendedKeys
		}
		if to.all(in) {
			close(detached)
		}
	})
	if v.Input || v.Screen {
		resized <- unix.SIGWINCH // the size may have changed since the session was told
		signal.Notify(resized, unix.SIGWINCH)
	}
	both.Go(func() {
		for range resized {
			w := t.resized()
			_ = conn.Write(wire.Size(w))
		}
	})
	go func() {
		both.Wait()
		close(k.done)
	}()
}

// ended stops reading. It returns a channel that is closed when all input that was read has
// been passed on, or cannot be.
func (k *keyboard) ended() <-chan struct{} {
	if k.stop == nil {
		nothing := make(chan struct{})
		close(nothing)
		return nothing
	}
	k.stop()
	return k.done
}

// input is the state of the user's input, over all connections to a session.
type input struct {
	some bool // of it has been passed on
	cut  bool // no more could be read after that
}

// forward copies typed input to a session.
type forward struct {
	conn    *wire.Connection
	in      *os.File
	input   *input
	asking  *question
	escapes *escapes // the input is a terminal: handle ~d
	mute    bool     // drop all input, but detach on ~d
}

// all copies until the end of in or of the connection. It returns true if the user detached.
func (f *forward) all(in *interruptible) bool {
	buf := make([]byte, wire.MaxData)
	for {
		n, err := in.readWithin(buf, f.patience())
		quiet := errors.Is(err, os.ErrDeadlineExceeded)
		if f.asking.isOpen() {
			if f.answer(buf[:n], quiet) {
				return true
			}
		} else if p, leave := f.filter(buf[:n], quiet); leave {
			return true
		} else if len(p) > 0 && !f.mute {
			if f.conn.Write(wire.Input{Data: p}) != nil {
				return false
			}
			f.input.some = true
		}
		if err != nil && !quiet {
			f.finish(err)
			return false
		}
	}
}

// patience returns the time to wait for more input before the present input is interpreted.
func (f *forward) patience() time.Duration {
	switch {
	case f.asking.isOpen():
		return f.asking.patience()
	case f.escapes != nil:
		return f.escapes.patience()
	}
	return -1
}

// filter returns the bytes of p that go to the session, and whether the user detaches.
func (f *forward) filter(p []byte, quiet bool) (rest []byte, leave bool) {
	switch {
	case f.escapes == nil:
		return p, false
	case quiet:
		return f.escapes.settle()
	case len(p) == 0:
		return nil, false
	}
	return f.escapes.filter(p), false
}

// answer takes typed input for an answer to the open question. It reports whether the user
// detaches.
func (f *forward) answer(p []byte, quiet bool) (leave bool) {
	if quiet {
		return f.asking.settle(f.conn)
	}
	if len(p) > 0 {
		keys := &strokes{}
		if f.escapes != nil {
			keys = &f.escapes.strokes
		}
		f.asking.typed(keys.onlyKey(p))
	}
	return false
}

const ctrlC = 3

// finish passes the end of input on. A terminal that was closed also reads as ended, but is no
// terminal any more; the job must not take that for Ctrl-D.
func (f *forward) finish(err error) {
	failed := !errors.Is(err, io.EOF)
	closed := f.escapes != nil && (failed || !OnTerminal(f.in))
	if f.mute || closed || errors.Is(err, os.ErrClosed) {
		return
	}
	if failed {
		f.input.cut = f.input.some
		fmt.Fprintln(os.Stderr, "keyway: the job's input ends here:", err)
	}
	if f.escapes != nil {
		if held := f.escapes.release(nil); len(held) > 0 {
			_ = f.conn.Write(wire.Input{Data: held})
		}
	}
	_ = f.conn.Write(wire.EOF{})
}
