//go:build linux

package session

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds on viewers.
const (
	maxViewers = 64
	// maxBehind is how far a viewer on a terminal may be behind before it is
	// brought up to date instead of shown everything.
	maxBehind = 1 << 20
	// helloTimeout is how long a connection may say nothing at first.
	helloTimeout = 10 * time.Second
	// redrawPause is how long the terminal has another size when a job is made to
	// redraw; programs that get two changes at once see none.
	redrawPause = 50 * time.Millisecond
)

// viewers are the connections to a holder.
type viewers struct {
	job  *job
	tape *tape
	kill func(grace time.Duration, reason string)

	mu     sync.Mutex // guards all below
	all    map[*viewer]bool
	window window  // of the job's terminal
	typist *viewer // whose size that is
	clock  uint64  // counts input, to find the latest typist
	status jobStatus
	group  sync.WaitGroup
	redraw *time.Timer
}

// viewer is one connection. Its goroutine reads what the viewer sends; a second
// one sends output.
type viewer struct {
	*peer
	conn   *net.UnixConn
	hello  hello
	window window
	typed  uint64 // when it last sent input, by viewers.clock
}

func newViewers(j *job, t *tape, w window, kill func(time.Duration, string)) *viewers {
	return &viewers{job: j, tape: t, window: w, kill: kill, all: map[*viewer]bool{}}
}

// accept serves connections until l is closed.
func (vs *viewers) accept(l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of descriptors
			time.Sleep(100 * time.Millisecond)
			continue
		}
		v := &viewer{peer: newPeer(conn), conn: conn}
		if !vs.add(v) {
			_ = v.write(refused{"too many viewers are attached"})
			conn.Close()
			continue
		}
		go vs.serve(v) // joined by wait
	}
}

func (vs *viewers) add(v *viewer) bool {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if len(vs.all) >= maxViewers {
		return false
	}
	vs.all[v] = true
	vs.group.Add(1)
	return true
}

// remove forgets v; the terminal gets the size of the latest typist that is left.
func (vs *viewers) remove(v *viewer) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	delete(vs.all, v)
	if vs.typist == v {
		vs.typist = nil
		for other := range vs.all {
			if other.hello.Flags&flagInput != 0 && (vs.typist == nil || other.typed > vs.typist.typed) {
				vs.typist = other
			}
		}
		vs.resizeLocked()
	}
	vs.group.Done()
}

// end lets viewers go once they have read everything.
func (vs *viewers) end(s jobStatus) {
	vs.mu.Lock()
	vs.status = s
	vs.mu.Unlock()
	vs.tape.end()
}

// wait returns when all viewers are gone. One that reads nothing for as long as
// grace is dropped.
func (vs *viewers) wait(grace time.Duration) {
	vs.mu.Lock()
	for v := range vs.all {
		_ = v.conn.SetDeadline(time.Now().Add(grace))
	}
	if vs.redraw != nil {
		vs.redraw.Stop()
	}
	vs.mu.Unlock()
	vs.group.Wait()
}

// serve runs one connection from hello to its end.
func (vs *viewers) serve(v *viewer) {
	defer vs.remove(v)
	defer v.conn.Close()
	_ = v.conn.SetReadDeadline(time.Now().Add(helloTimeout))
	m, err := v.read()
	h, ok := m.(hello)
	if err != nil || !ok {
		return
	}
	if h.Version != version {
		_ = v.write(refused{"the session was started by another version of keyway"})
		return
	}
	_ = v.conn.SetReadDeadline(time.Time{})
	vs.welcome(v, h)
	gone := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() { vs.send(v, gone) })
	vs.receive(v)
	close(gone)
	v.conn.Close() // interrupts a send to a viewer that does not read
	sender.Wait()
}

func (vs *viewers) welcome(v *viewer, h hello) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v.hello, v.window = h, window{h.Rows, h.Cols}
	if v.hello.Flags&flagInput != 0 && v.window.rows > 0 {
		vs.typedLocked(v)
	}
}

// receive acts on what the viewer sends until it goes away or breaks the
// protocol.
func (vs *viewers) receive(v *viewer) {
	for {
		m, err := v.read()
		if err != nil {
			return
		}
		if v.hello.Flags&flagInput == 0 {
			return // it said that it would only look
		}
		switch m := m.(type) {
		case input:
			vs.typed(v)
			if len(m.Data) > 0 {
				_ = vs.job.write(m.Data) // fails once the job reads no more, which is its right
			}
		case eof:
			vs.job.endInput()
		case size:
			vs.resized(v, window{m.Rows, m.Cols})
		case signalM:
			vs.job.signal(unix.Signal(m.Number))
		case end:
			vs.kill(time.Duration(m.GraceMillis)*time.Millisecond, "ended by keyway kill")
		default:
			return
		}
	}
}

func (vs *viewers) typed(v *viewer) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.typedLocked(v)
}

func (vs *viewers) typedLocked(v *viewer) {
	vs.clock++
	v.typed = vs.clock
	if vs.typist != v && v.window.rows > 0 {
		vs.typist = v
		vs.resizeLocked()
	}
}

func (vs *viewers) resized(v *viewer, w window) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v.window = w
	if vs.typist == v {
		vs.resizeLocked()
	}
}

func (vs *viewers) resizeLocked() {
	if vs.typist == nil || !vs.job.tty {
		return
	}
	w := vs.typist.window
	if w.rows == 0 || w.cols == 0 || w == vs.window {
		return
	}
	vs.window = w
	setWindow(vs.job.input, w)
}

// makeRedraw changes the terminal's size and back, on which full-screen programs
// draw everything anew.
func (vs *viewers) makeRedraw() {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	w := vs.window
	if w.rows < 2 {
		return
	}
	w.rows--
	setWindow(vs.job.input, w)
	if vs.redraw != nil {
		vs.redraw.Stop()
	}
	vs.redraw = time.AfterFunc(redrawPause, func() {
		vs.mu.Lock()
		defer vs.mu.Unlock()
		setWindow(vs.job.input, vs.window)
	})
}

// send sends v what it wants to see until the job's end or until v is gone.
func (vs *viewers) send(v *viewer, gone <-chan struct{}) {
	defer v.conn.CloseWrite()
	w := vs.tape.newWatcher()
	defer w.stop()
	if v.hello.Flags&flagOutput == 0 {
		vs.sendEnd(v, w, gone)
		return
	}
	c := &cursor{viewers: vs, viewer: v, watcher: w, buf: make([]byte, maxData)}
	if c.start() != nil {
		return
	}
	for {
		more, err := c.next()
		if err != nil {
			return
		}
		if more {
			continue
		}
		if _, over := vs.tape.state(); over && c.at >= c.target() {
			vs.tellEnd(v)
			return
		}
		select {
		case <-w.wake:
		case <-gone:
			return
		}
	}
}

// sendEnd is send for those who wait only for the end.
func (vs *viewers) sendEnd(v *viewer, w *watcher, gone <-chan struct{}) {
	at, _ := vs.tape.state()
	if v.write(welcome{version, vs.job.tty, at}) != nil {
		return
	}
	for {
		if _, over := vs.tape.state(); over {
			vs.tellEnd(v)
			return
		}
		select {
		case <-w.wake:
		case <-gone:
			return
		}
	}
}

func (vs *viewers) tellEnd(v *viewer) {
	vs.mu.Lock()
	s := vs.status
	vs.mu.Unlock()
	_ = v.write(ended{uint32(s.code), byte(s.signal)})
}

// cursor is a viewer's place in the output.
type cursor struct {
	*viewers
	viewer  *viewer
	watcher *watcher
	at      uint64
	live    bool // has been told that history is over
	buf     []byte
}

// start finds where the viewer wants to begin, and sends what comes before it.
func (c *cursor) start() error {
	h := c.viewer.hello
	if h.Flags&flagTail == 0 {
		c.at = h.From
		return c.viewer.write(welcome{version, c.job.tty, c.at})
	}
	if c.job.tty && h.Flags&flagLive != 0 {
		return c.bringUp(true)
	}
	c.at = c.tape.tail(h.From)
	return c.viewer.write(welcome{version, c.job.tty, c.at})
}

// bringUp shows a terminal what the screen looks like now.
func (c *cursor) bringUp(first bool) error {
	preamble, from, redraw := c.tape.replay()
	if first {
		c.at = from
		if err := c.viewer.write(welcome{version, true, from}); err != nil {
			return err
		}
	}
	if len(preamble) > 0 {
		if err := c.viewer.write(screen{preamble}); err != nil {
			return err
		}
	}
	if from > c.at {
		if err := c.viewer.write(skipped{c.at, from - c.at}); err != nil {
			return err
		}
		c.at = from
	}
	if redraw {
		c.makeRedraw()
	}
	return nil
}

func (c *cursor) target() uint64 {
	end, _ := c.tape.state()
	return end
}

// next sends one frame of output, if there is any.
func (c *cursor) next() (more bool, err error) {
	behind := c.target() - min(c.target(), c.at)
	if behind > maxBehind && c.job.tty && c.viewer.hello.Flags&flagLive != 0 {
		return true, c.bringUp(false)
	}
	n, s, err := c.tape.read(c.buf, c.at)
	switch {
	case errors.Is(err, io.EOF):
		return false, c.tellLive()
	case err != nil: // the log cannot be read: as lost as if it had not been written
		n, s = c.tape.unreadable(c.at), lost
	}
	at := c.at
	c.at += n
	if s == lost {
		return true, c.viewer.write(skipped{at, n})
	}
	return true, c.viewer.write(output{s, at, c.buf[:n]})
}

func (c *cursor) tellLive() error {
	if c.live {
		return nil
	}
	c.live = true
	return c.viewer.write(live{})
}
