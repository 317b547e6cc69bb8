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

// display is what the job's terminal shows: a model of it that follows the output. What
// a job prints slowly it is fed at once. In a flood it waits for a pause, or for
// somebody who asks: feeding costs more than reading the job's output and keeping it
// does, and most of a flood scrolls by without being seen.
type display struct {
	output *output
	watch  *watcher
	// answer gets what a terminal would answer to the job's questions.
	answer func([]byte)

	mu     sync.Mutex // guards all below
	screen *screen.Screen
	at     uint64 // offset up to which the screen knows the output
	buf    []byte
	asks   asked
}

const (
	// floodAfter is how much a job must print without a pause to make it a flood.
	floodAfter = 256 << 10
	// pause is how long a job that waits for an answer, after a flood, is left alone.
	pause = 20 * time.Millisecond
	// idleAfter is how long a job must have printed nothing for memory to be given
	// back that its last burst has taken.
	idleAfter = 2 * time.Second
)

func newDisplay(o *output, w wire.Window, answer func([]byte)) *display {
	return &display{output: o, watch: o.newWatcher(true), answer: answer, screen: newScreen(w, 0), buf: make([]byte, wire.MaxData)}
}

// newScreen makes a model of a terminal; lines is how much history it keeps, 0 for
// the usual.
func newScreen(w wire.Window, lines int) *screen.Screen {
	return screen.New(int(w.Cols), int(w.Rows), screen.Options{Lines: lines, Name: "keyway " + keyway.Version})
}

// follow feeds the screen until the job has ended. From then on only those who ask
// for it do.
func (p *display) follow() {
	defer p.watch.stop()
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	flood := uint64(0) // printed since the last pause
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

// settle waits until the output pauses, which it then says, or until the display must
// not be further behind.
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

// await waits for more output, or to be woken.
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

// catchUp feeds the screen what has been printed until now, and passes its answers on.
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

// asked is what the terminal was asked until now.
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

// feed shows what lies before offset stop, and a little more.
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

// read reads what was printed at an offset into buf. Of what is lost, n bytes are
// missing.
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

// resize comes after all that was printed before. Its caller may hold what is needed
// to pass on answers: follow does.
func (p *display) resize(w wire.Window) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catchUpLocked()
	p.screen.Resize(int(w.Cols), int(w.Rows))
	p.watch.notify()
}

// keyboard is how the job has asked for keys, after all that it has printed.
func (p *display) keyboard() screen.Keyboard {
	p.catchUp()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.Keyboard()
}

// attach is what brings a terminal to where this one is: the last lines of history
// and the screen; without history, what was on it makes way. A terminal of another
// size is shown what there is room for. What is printed from offset at on belongs
// after it. full says that a program has the whole screen.
func (p *display) attach(lines int, f fit) (display []byte, at uint64, full bool) {
	p.catchUp()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case f.crops():
		if lines > 0 {
			display = p.screen.History([]byte("\x1b[J"), lines)
			display = append(display, bytes.Repeat([]byte("\r\n"), int(f.viewer.Rows))...) // up into the scrollback
		}
		display = p.screen.Crop(display, int(f.viewer.Cols), int(f.viewer.Rows))
	case lines > 0:
		display = p.screen.Attach(nil, lines)
	default:
		display = p.screen.Snapshot(nil)
	}
	return display, p.at, p.screen.Alternate()
}
