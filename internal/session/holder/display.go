//go:build linux

package holder

import (
	"bytes"
	"sync"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/memory"
	"keyway/internal/screen"
	"keyway/internal/session/wire"
)

// display is a model of the job's terminal that follows the output. Slow output is fed to it at
// once. In a flood it waits for a pause or for a reader: feeding costs more than reading and
// keeping the output, and most of a flood scrolls by without being seen.
type display struct {
	output *output
	watch  *watcher
	// answer receives the terminal's answers to the job's questions.
	answer func([]byte)

	mu     sync.Mutex // guards all fields below
	screen *screen.Screen
	at     uint64 // offset up to which the screen has been fed
	buf    []byte
	asks   asked
}

const (
	// floodAfter is the number of bytes without a pause that make a flood.
	floodAfter = 256 << 10
	// pause is the time that a flooding job is left alone while it waits for an answer.
	pause = 20 * time.Millisecond
	// idleAfter is the silence after which the memory of the last burst is given back.
	idleAfter = 2 * time.Second
)

func newDisplay(o *output, w wire.Window, answer func([]byte)) *display {
	return &display{output: o, watch: o.newWatcher(true), answer: answer, screen: newScreen(w, 0), buf: make([]byte, wire.MaxData)}
}

// newScreen makes a model of a terminal that keeps the given lines of history; 0 means the default.
func newScreen(w wire.Window, lines int) *screen.Screen {
	return screen.New(int(w.Cols), int(w.Rows), screen.Options{Lines: lines, Name: "keyway " + keyway.Version})
}

// follow feeds the screen until the job has ended. After that, readers feed it on demand.
func (p *display) follow() {
	defer p.watch.stop()
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	flood := uint64(0) // bytes since the last pause
	for {
		if flood > floodAfter && p.settle() {
			flood = 0
		}
		if _, ended := p.output.state(); ended {
			return
		}
		flood += p.catchUp()
		before := time.Now()
		if p.await(idle); time.Since(before) > pause {
			flood = 0
		}
	}
}

// settle waits until the output pauses, and then reports so, or until the display must not fall
// further behind.
func (p *display) settle() (paused bool) {
	for last := uint64(0); ; {
		end, urgent := p.output.urgent()
		if urgent || end == last {
			return !urgent
		}
		last = end
		time.Sleep(pause)
	}
}

// await waits for more output or for a wake-up.
func (p *display) await(idle *time.Timer) {
	idle.Reset(idleAfter)
	select {
	case <-p.watch.wake:
		return
	case <-idle.C:
	}
	memory.Release()
	<-p.watch.wake
}

// catchUp feeds the screen all output until now, and passes its answers on.
func (p *display) catchUp() (fed uint64) {
	p.mu.Lock()
	from := p.at
	p.catchUpLocked()
	fed = p.at - from
	answers := p.screen.Answers()
	p.mu.Unlock()
	if len(answers) > 0 {
		p.answer(answers)
	}
	return fed
}

// asked returns the questions that the terminal has been asked until now.
func (p *display) asked() asked {
	p.catchUp()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asks
}

func (p *display) catchUpLocked() {
	end, _ := p.output.state()
	for p.at < end {
		p.feed(p.skip(end))
	}
}

// feed feeds the output before offset stop, and a little more.
func (p *display) feed(stop uint64) {
	for {
		n, s := p.read(p.at)
		if s != wire.Lost {
			_, _ = p.screen.Write(p.buf[:n])
			p.asks.note(p.screen, time.Now())
		}
		p.advance(p.at + n)
		if n == 0 || p.at >= stop {
			return
		}
	}
}

// read reads output at an offset into buf. If it is lost, n is the number of missing bytes.
func (p *display) read(offset uint64) (n uint64, s wire.Stream) {
	n, s, err := p.output.read(p.buf, offset)
	if err != nil {
		return 0, wire.Stdout
	}
	return n, s
}

func (p *display) advance(at uint64) {
	p.at = at
	p.output.followed(at)
}

// resize applies after all output until now. The caller may hold the locks that passing on answers
// needs, because follow passes them on.
func (p *display) resize(w wire.Window) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catchUpLocked()
	p.screen.Resize(int(w.Cols), int(w.Rows))
	p.watch.notify()
}

// keyboard returns the keyboard modes that the job has set with its output until now.
func (p *display) keyboard() screen.Keyboard {
	p.catchUp()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.Keyboard()
}

// pastes reports whether the job has requested marks around pasted text with its output until now.
// The caller may hold the locks that passing on answers needs, because follow passes them on.
func (p *display) pastes() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catchUpLocked()
	p.watch.notify()
	return p.screen.Keyboard().Pastes
}

// attach returns the bytes that bring a terminal to the state of this one: the last lines of
// history and the screen. Without history, the terminal's old content scrolls away. A terminal of
// another size gets the part that fits. Output from offset at on continues the picture. full
// reports whether a program uses the whole screen.
func (p *display) attach(lines int, f fit) (display []byte, at uint64, full bool) {
	p.catchUp()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case f.crops():
		if lines > 0 {
			display = p.screen.History([]byte("\x1b[J"), lines)
			display = append(display, bytes.Repeat([]byte("\r\n"), int(f.viewer.Rows))...) // scrolls the old content into the scrollback
		}
		display = p.screen.Crop(display, int(f.viewer.Cols), int(f.viewer.Rows))
	case lines > 0:
		display = p.screen.Attach(nil, lines)
	default:
		display = p.screen.Snapshot(nil)
	}
	return display, p.at, p.screen.Alternate()
}
