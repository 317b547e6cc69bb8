//go:build linux

package holder

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/screen"
	"keyway/internal/session/wire"
)

// answer passes the display's answers on to the job, unless a terminal answers.
func (vs *viewers) answer(p []byte) {
	vs.mu.Lock()
	attached := vs.activeViewer != nil
	vs.mu.Unlock()
	if !attached {
		vs.job.tryWrite(p)
	}
}

// receive handles the viewer's messages until it goes away or breaks the protocol.
func (vs *viewers) receive(v *viewer) {
	for {
		over := vs.turn(v)
		if unsent := v.unsent; len(unsent) > 0 {
			v.unsent = nil
			vs.pass(v, unsent)
			continue
		}
		if len(v.held) > 0 {
			vs.await(v, heldFor)
		}
		m, err := v.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) && !over {
			vs.await(v, 0)
			vs.typed(v, v.flush())
			continue
		}
		if err != nil {
			vs.typed(v, v.flush())
			return
		}
		if m, ok := m.(wire.Size); ok {
			vs.resized(v, wire.Window(m))
			continue
		}
		if m, ok := m.(wire.Passed); ok {
			v.hasPassed(m.Offset)
			continue
		}
		if v.hello.Flags&wire.FlagInput == 0 {
			return // it connected only to look
		}
		switch m := m.(type) {
		case wire.Input:
			v.feeding(true)
			vs.input(v, m.Data)
		case wire.Key:
			v.feeding(true)
			vs.typed(v, m.Encode(vs.keyboard()))
		case wire.EOF:
			vs.endInput(v)
			v.feeding(false)
		case wire.Signal:
			vs.job.signal(unix.Signal(m.Number))
		case wire.End:
			vs.kill(time.Duration(m.GraceMillis)*time.Millisecond, "ended by keyway kill")
		default:
			return
		}
	}
}

// hasPassed notes the offset that a viewer has passed logged output on to, and wakes its sender. A
// viewer that sends input may report it late.
func (v *viewer) hasPassed(offset uint64) {
	v.passed.Store(max(offset, v.passed.Load()))
	v.look()
}

// feeding notes whether a viewer sends input. Its reports of logged output may then wait behind
// input that the job does not take. So output is sent to it directly, and the job does not wait for
// it.
func (v *viewer) feeding(on bool) {
	if v.feeds.Swap(on) != on {
		v.look()
	}
}

// look wakes a viewer's sender.
func (v *viewer) look() {
	if v.watcher != nil { // nil: it was connected before the renewal
		v.watcher.notify()
	}
}

// keyboard returns the keyboard modes that the job has set.
func (vs *viewers) keyboard() screen.Keyboard {
	if vs.display == nil {
		return screen.Keyboard{}
	}
	return vs.display.keyboard()
}

// input passes a viewer's input on: all of it from the terminal that was typed on last, only typed
// keys from others.
func (vs *viewers) input(v *viewer, p []byte) {
	if v.hello.Flags&wire.FlagAsk != 0 && string(p) == "\x03" && vs.job.interruptible() {
		_ = v.Write(wire.Ask{})
		return
	}
	latest, others := vs.among(v)
	if !others || v.hello.Flags&wire.FlagKeys == 0 || len(v.held) == 0 && bytes.IndexByte(p, esc) < 0 {
		vs.typed(v, p)
		return
	}
	v.ask(vs.display.asked(), time.Now())
	if !latest {
		vs.typed(v, v.replies.typed(p))
		return
	}
	p = append(v.flush(), p...)
	v.replies.typed(p) // counts its answers
	v.flush()
	vs.typed(v, p)
}

// among reports whether v was typed on last, and whether there are other viewers whose terminals
// may show the same questions.
func (vs *viewers) among(v *viewer) (latest, others bool) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for other := range vs.all {
		others = others || other != v && !other.left && other.hello.Flags&wire.FlagInput != 0 && other.window.Rows > 0
	}
	return vs.activeViewer == v, others && vs.display != nil
}

// typed passes typed input on.
func (vs *viewers) typed(v *viewer, p []byte) {
	if len(p) == 0 {
		return
	}
	vs.mu.Lock()
	vs.typedLocked(v)
	vs.mu.Unlock()
	vs.pass(v, p)
}

// await bounds the next read from v, if nothing else does; 0 means no bound.
func (vs *viewers) await(v *viewer, most time.Duration) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	switch {
	case vs.still.on || vs.ending:
	case most > 0:
		_ = v.conn.SetReadDeadline(time.Now().Add(most))
	default:
		_ = v.conn.SetReadDeadline(time.Time{})
	}
}

// pass writes typed input to the job. It fails once the job does not read any more, which is no
// error.
func (vs *viewers) pass(v *viewer, p []byte) {
	n, err := 0, os.ErrDeadlineExceeded
	p, may := vs.mayType(v, p)
	if may {
		n, err = vs.job.write(p)
		vs.hasTyped(v, p)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		v.unsent = slices.Clone(p[n:])
	}
}

// endInput ends v's input: on a terminal by the character for it.
func (vs *viewers) endInput(v *viewer) {
	const endOfTransmission = 4
	if vs.job.tty {
		vs.pass(v, []byte{endOfTransmission})
		return
	}
	vs.job.closeInput()
}

func (vs *viewers) typedLocked(v *viewer) {
	vs.clock++
	v.typed = vs.clock
	if vs.activeViewer != v && v.window.Rows > 0 {
		vs.activeViewer = v
		vs.resizeLocked()
	}
}

func (vs *viewers) resized(v *viewer, w wire.Window) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v.window = w
	if vs.activeViewer == v {
		vs.resizeLocked()
	} else {
		vs.output.nudge()
	}
}

func (vs *viewers) resizeLocked() {
	if vs.activeViewer == nil || !vs.job.tty {
		return
	}
	w := vs.activeViewer.window
	if w.Rows == 0 || w.Cols == 0 || w == vs.window {
		return
	}
	vs.window = w
	setWindow(vs.job.input, w)
	vs.output.resize(w)
	vs.display.resize(w)
	vs.output.nudge()
}
