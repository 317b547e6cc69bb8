//go:build linux

package session

import (
	"bytes"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/screen"
)

// Bounds on viewers.
const (
	maxViewers = 64
	// maxBehind is how far a viewer on a terminal may be behind before it is
	// brought up to date instead of shown everything.
	maxBehind = 1 << 20
	// helloTimeout is how long a connection may say nothing at first.
	helloTimeout = 10 * time.Second
)

// viewers are the connections to a holder.
type viewers struct {
	job     *job
	tape    *tape
	picture *picture // nil: the job has no terminal
	kill    func(grace time.Duration, reason string)
	renew   func(program string) error
	gate    *sync.RWMutex // the holder's

	mu     sync.Mutex // guards all below
	all    map[*viewer]bool
	window window  // of the job's terminal
	typist *viewer // whose size that is
	clock  uint64  // counts input, to find the latest typist
	count  uint64  // counts viewers
	status jobStatus
	group  sync.WaitGroup
	ending bool              // those who are left are waited for
	coming map[int32]*waiter // by process: they are about to connect
	still  standstill
}

// viewer is one connection. Its goroutine reads what the viewer sends; a second
// one sends output.
type viewer struct {
	*peer
	conn   *net.UnixConn
	pid    int32
	hello  hello
	window window
	typed  uint64  // when it last sent input, by viewers.clock
	number uint64  // by viewers.count
	left   bool    // it is shown nothing any more; see standstill
	unsent []byte  // of its input, what the job has not got yet; of receive alone
	waiter *waiter // nil: the job does not wait for it
	replies
}

func newViewers(h *holder, w window) *viewers {
	vs := &viewers{job: h.job, tape: h.tape, window: w, kill: h.end, renew: h.renew, gate: &h.gate, all: map[*viewer]bool{}, coming: map[int32]*waiter{}}
	vs.still.changed.L = &vs.mu
	if h.job.tty {
		vs.picture = newPicture(h.tape, w, vs.answer)
		h.tape.resize(w)
	}
	return vs
}

// answer passes on what the picture answers to the job, if there is no terminal
// that does.
func (vs *viewers) answer(p []byte) {
	vs.mu.Lock()
	attached := vs.typist != nil
	vs.mu.Unlock()
	if !attached {
		vs.job.tryWrite(p)
	}
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
		v := &viewer{peer: newPeer(conn), conn: conn, pid: processOf(conn)}
		if !vs.add(v) {
			_ = v.write(refused{"too many viewers are attached"})
			conn.Close()
			continue
		}
		go vs.serve(v) // joined by wait
	}
}

// add counts v in, if there is room.
func (vs *viewers) add(v *viewer) bool {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	n := 0
	for other := range vs.all {
		if !other.left {
			n++
		}
	}
	if n >= maxViewers && !v.left {
		return false
	}
	vs.count++
	v.number = vs.count
	vs.all[v] = true
	vs.group.Add(1)
	return true
}

// remove forgets v; the terminal gets the size of the latest typist that is left.
func (vs *viewers) remove(v *viewer) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	delete(vs.all, v)
	vs.still.stopped(v)
	vs.still.changed.Broadcast() // to those who follow it
	if vs.typist == v {
		vs.typist = nil
		for other := range vs.all {
			if other.hello.Flags&flagInput != 0 && !other.left && (vs.typist == nil || other.typed > vs.typist.typed) {
				vs.typist = other
			}
		}
		vs.resizeLocked()
	}
	vs.group.Done()
}

// size is that of the job's terminal.
func (vs *viewers) size() window {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return vs.window
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
	vs.ending = true
	for v := range vs.all {
		_ = v.conn.SetDeadline(time.Now().Add(grace))
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
	if m, ok := m.(renewM); ok && err == nil {
		_ = v.write(refused{vs.renew(m.Program).Error()}) // it does not return otherwise
		return
	}
	h, ok := m.(hello)
	if err != nil || !ok {
		return
	}
	if h.Version != version {
		_ = v.write(welcome{Version: version}) // which is how the other learns of it
		return
	}
	_ = v.conn.SetReadDeadline(time.Time{})
	if vs.picture != nil && h.Flags&flagInput != 0 {
		v.begin(vs.picture.asked()) // which is not for the new terminal to answer
	}
	vs.welcome(v, h)
	c := &cursor{viewers: vs, viewer: v, watcher: vs.tape.newWatcher(h.Flags&flagOutput != 0)}
	defer c.watcher.stop()
	defer vs.parted(v)
	// Not by the goroutine that goes on from there: to start that takes as long as to
	// draw a screen.
	if c.start() != nil {
		return
	}
	gone := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() { c.send(gone) })
	vs.receive(v)
	close(gone)
	v.conn.Close() // interrupts a send to a viewer that does not read
	sender.Wait()
}

func (vs *viewers) welcome(v *viewer, h hello) {
	vs.gate.RLock() // who comes while the holder is renewed is not let in half-way
	defer vs.gate.RUnlock()
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
		over := vs.turn(v)
		if unsent := v.unsent; len(unsent) > 0 {
			v.unsent = nil
			vs.pass(v, unsent)
			continue
		}
		if len(v.held) > 0 {
			vs.await(v, heldFor)
		}
		m, err := v.read()
		if errors.Is(err, os.ErrDeadlineExceeded) && !over {
			vs.await(v, 0)
			vs.typed(v, v.flush())
			continue
		}
		if err != nil {
			vs.typed(v, v.flush())
			return
		}
		if m, ok := m.(size); ok {
			vs.resized(v, window{m.Rows, m.Cols})
			continue
		}
		if v.hello.Flags&flagInput == 0 {
			return // it said that it would only look
		}
		switch m := m.(type) {
		case input:
			vs.input(v, m.Data)
		case key:
			vs.typed(v, m.encode(vs.keyboard()))
		case eof:
			vs.endInput(v)
		case signalM:
			vs.job.signal(unix.Signal(m.Number))
		case end:
			vs.kill(time.Duration(m.GraceMillis)*time.Millisecond, "ended by keyway kill")
		default:
			return
		}
	}
}

// keyboard is how the job has asked for keys.
func (vs *viewers) keyboard() screen.Keyboard {
	if vs.picture == nil {
		return screen.Keyboard{}
	}
	return vs.picture.keyboard()
}

// input passes on what a viewer sends: everything, but of terminals that were not
// typed on last only what was typed.
func (vs *viewers) input(v *viewer, p []byte) {
	if v.hello.Flags&flagAsk != 0 && string(p) == "\x03" && vs.job.interruptible() {
		_ = v.write(ask{})
		return
	}
	latest, others := vs.among(v)
	if !others || v.hello.Flags&flagKeys == 0 || len(v.held) == 0 && bytes.IndexByte(p, esc) < 0 {
		vs.typed(v, p)
		return
	}
	v.ask(vs.picture.asked(), time.Now())
	if !latest {
		vs.typed(v, v.replies.typed(p))
		return
	}
	p = append(v.flush(), p...)
	v.replies.typed(p) // counts its answers
	v.flush()
	vs.typed(v, p)
}

// among reports whether v was typed on last, and whether there are others whose
// terminals may be shown what v's is.
func (vs *viewers) among(v *viewer) (latest, others bool) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for other := range vs.all {
		others = others || other != v && !other.left && other.hello.Flags&flagInput != 0 && other.window.rows > 0
	}
	return vs.typist == v, others && vs.picture != nil
}

// typed passes on what was typed.
func (vs *viewers) typed(v *viewer, p []byte) {
	if len(p) == 0 {
		return
	}
	vs.mu.Lock()
	vs.typedLocked(v)
	vs.mu.Unlock()
	vs.pass(v, p)
}

// await bounds the next read from v, if nothing else does; 0 is no bound.
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

// pass gives the job what was typed. That fails once the job reads no more, which is
// its right.
func (vs *viewers) pass(v *viewer, p []byte) {
	n, err := vs.job.write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		v.unsent = slices.Clone(p[n:])
	}
}

// endInput is the end of what v types: on a terminal the character for it.
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
	} else {
		vs.tape.nudge()
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
	vs.tape.resize(w)
	vs.picture.resize(w)
	vs.tape.nudge()
}

// send sends what the viewer wants to see until the job's end or until it is gone.
func (c *cursor) send(gone <-chan struct{}) {
	defer c.viewer.conn.CloseWrite()
	for {
		more, err := c.next()
		if err != nil {
			return
		}
		end, over := c.tape.state()
		if more && !(over && c.at > end) { // what comes behind the end may never stop
			continue
		}
		if over && (c.at >= end || !c.wants(flagOutput)) {
			c.tellEnd(c.viewer)
			return
		}
		select {
		case <-c.watcher.wake:
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
	fit     fit       // as it was drawn last
	drawn   time.Time // when that was, where the sizes differ
	size    window    // that it was told
}

// fit is the size of a session's terminal, and that of a viewer's.
type fit struct{ session, viewer window }

// crops says that what a session prints cannot be shown as it is: it was meant for
// another size.
func (f fit) crops() bool { return f.viewer.rows > 0 && f.viewer.cols > 0 && f.viewer != f.session }

func (c *cursor) fits() fit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fit{c.window, c.viewer.window}
}

// frame is how often a viewer's terminal of another size is drawn at most: it is
// drawn whole.
const frame = 40 * time.Millisecond

// start finds where the viewer wants to begin, and sends what comes before it.
func (c *cursor) start() error {
	h := c.viewer.hello
	switch {
	case !c.wants(flagOutput):
		c.at = c.target()
	case !c.wants(flagTail):
		c.at = h.From
	case c.shows():
		return c.attach(int(min(h.From, maxHistory)))
	case c.wants(flagScreen): // it did not know that there is none
		c.at = c.tape.tail(recentBytes)
	default:
		c.at = c.tape.tail(h.From)
	}
	if c.wants(flagOutput) && c.wants(flagWhole) {
		c.arrived(c.viewer, c.at)
	}
	return c.viewer.write(welcome{version, c.job.tty, c.at})
}

func (c *cursor) wants(flag byte) bool { return c.viewer.hello.Flags&flag != 0 }

// maxHistory is how many lines of history a viewer may ask for.
const maxHistory = 1 << 20

// shows says that the viewer wants a picture, and that there is one.
func (c *cursor) shows() bool { return c.picture != nil && c.wants(flagScreen) }

// attach shows a terminal the history and the screen. Full-screen programs may
// show what no snapshot has, such as images: they are told to look at their
// terminal, on which most draw anew.
func (c *cursor) attach(lines int) error {
	c.fit, c.drawn = c.fits(), time.Now()
	picture, at, full := c.picture.attach(lines, c.fit)
	c.at = at
	if err := c.draw(picture, welcome{version, true, at}); err != nil {
		return err
	}
	if full {
		c.job.signal(unix.SIGWINCH)
	}
	return nil
}

// bringUp shows a terminal that is too far behind, or of another size, what the
// screen looks like now.
func (c *cursor) bringUp() error {
	picture, at, _ := c.picture.attach(0, c.fit)
	if at < c.at {
		return nil
	}
	news := skipped{c.at, at - c.at}
	c.at = at
	return c.draw(picture, news)
}

// draw sends a picture, which is never empty, right after what it is for: whoever
// waits for that is woken once.
func (c *cursor) draw(picture []byte, first message) error {
	n := min(len(picture), maxPayload)
	err := c.viewer.write(first, screenData{picture[:n]})
	for picture = picture[n:]; err == nil && len(picture) > 0; picture = picture[n:] {
		n = min(len(picture), maxPayload)
		err = c.viewer.write(screenData{picture[:n]})
	}
	return err
}

func (c *cursor) target() uint64 {
	end, _ := c.tape.state()
	return end
}

// refit draws the screen for a viewer whose size is, or was, another than that of the
// session, if there is anything new.
func (c *cursor) refit(now fit) (more bool, err error) {
	if now == c.fit && c.at >= c.target() {
		return false, c.tellLive()
	}
	time.Sleep(frame - time.Since(c.drawn))
	c.fit, c.drawn = now, time.Now()
	return true, c.bringUp()
}

// next sends one frame of output, if there is any.
func (c *cursor) next() (more bool, err error) {
	if !c.wants(flagOutput) {
		return false, nil
	}
	if w := c.viewer.waiter; w != nil {
		w.passed(c.at)
	}
	if c.shows() {
		now := c.fits()
		if now.crops() || c.fit.crops() {
			return c.refit(now)
		}
		c.fit = now
	}
	behind := c.target() - min(c.target(), c.at)
	if behind > maxBehind && c.shows() {
		if err := c.bringUp(); err != nil {
			return false, err
		}
	}
	if c.buf == nil {
		c.buf = make([]byte, maxData)
	}
	buf, err := c.sized()
	if err != nil {
		return false, err
	}
	n, s, err := c.tape.read(buf, c.at)
	if err != nil {
		return false, c.tellLive()
	}
	at := c.at
	c.at += n
	if s == lost {
		return true, c.viewer.write(skipped{at, n})
	}
	return true, c.viewer.write(output{s, at, c.buf[:n]})
}

// sized tells a viewer that draws by itself what size the terminal has of what comes
// next, and returns room for as much as was printed with it.
func (c *cursor) sized() ([]byte, error) {
	if !c.job.tty || c.wants(flagScreen) {
		return c.buf, nil
	}
	w, until := c.tape.sizeAt(c.at)
	room := c.buf
	if n := until - c.at; n > 0 && n < uint64(len(room)) {
		room = room[:n]
	}
	if w == c.size {
		return room, nil
	}
	c.size = w
	return room, c.viewer.write(sizedM{w.rows, w.cols})
}

func (c *cursor) tellLive() error {
	if c.live {
		return nil
	}
	c.live = true
	return c.viewer.write(live{})
}
