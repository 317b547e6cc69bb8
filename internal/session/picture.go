//go:build linux

package session

import (
	"errors"
	"io"
	"sync"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/screen"
)

// picture is what the job's terminal shows: a model of it that follows the tape.
// It is fed by a goroutine of its own, so that the job waits for it only when it
// is followLimit behind; see tape.append.
type picture struct {
	tape *tape
	// answer gets what a terminal would answer to the job's questions.
	answer func([]byte)

	mu     sync.Mutex // guards all below
	screen *screen.Screen
	at     uint64 // offset up to which the screen knows the output
}

func newPicture(t *tape, w window, answer func([]byte)) *picture {
	return &picture{tape: t, answer: answer, screen: newScreen(w, 0)}
}

// newScreen makes a model of a terminal; lines is how much history it keeps, 0 for
// the usual.
func newScreen(w window, lines int) *screen.Screen {
	return screen.New(int(w.cols), int(w.rows), screen.Options{Lines: lines, Name: "keyway " + keyway.Version})
}

// follow feeds the screen until the job has ended and all is read.
func (p *picture) follow(w *watcher) {
	buf := make([]byte, maxData)
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	for {
		n, s, err := p.tape.read(buf, p.at)
		switch {
		case errors.Is(err, io.EOF):
			if _, ended := p.tape.state(); ended {
				return
			}
			p.await(w, idle)
			continue
		case err != nil: // the log cannot be read: as lost as if it had not been written
			n, s = p.tape.unreadable(p.at), lost
		}
		p.feed(buf, n, s)
		p.tape.followed(p.at)
	}
}

// idleAfter is how long a job must have printed nothing for memory to be given back
// that its last burst has taken.
const idleAfter = 2 * time.Second

// await waits for more output.
func (p *picture) await(w *watcher, idle *time.Timer) {
	idle.Reset(idleAfter)
	select {
	case <-w.wake:
		return
	case <-idle.C:
	}
	ReleaseMemory()
	<-w.wake
}

func (p *picture) feed(buf []byte, n uint64, s stream) {
	p.mu.Lock()
	if s != lost {
		_, _ = p.screen.Write(buf[:n])
	}
	p.at += n
	answers := p.screen.Answers()
	p.mu.Unlock()
	if len(answers) > 0 {
		p.answer(answers)
	}
}

func (p *picture) resize(w window) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.screen.Resize(int(w.cols), int(w.rows))
}

// attach is what brings a terminal to where this one is: the last lines of history
// and the screen; without history, what was on it makes way. What is printed from
// offset at on belongs after it. full says that a program has the whole screen.
func (p *picture) attach(lines int) (picture []byte, at uint64, full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if lines > 0 {
		picture = p.screen.Attach(nil, lines)
	} else {
		picture = p.screen.Snapshot(nil)
	}
	return picture, p.at, p.screen.Alternate()
}
