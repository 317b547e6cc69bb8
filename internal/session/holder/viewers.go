//go:build linux

package holder

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"keyway/internal/session"
	"keyway/internal/session/wire"
	"keyway/internal/typeahead"
	"keyway/internal/unixsock"
)

// Bounds on viewers.
const (
	maxViewers = 64
	// maxBehind is the number of bytes that a viewer on a terminal may be behind. Beyond that, the
	// screen is drawn instead of all output.
	maxBehind = 1 << 20
	// helloTimeout is the time that a new connection has to send its hello.
	helloTimeout = 10 * time.Second
)

// viewers are the connections to a holder.
type viewers struct {
	job     *job
	output  *output
	display *display // nil: the job has no terminal
	kill    func(grace time.Duration, reason string)
	renew   func(program string) error
	gate    *sync.RWMutex // the holder's

	mu           sync.Mutex // guards all fields below
	all          map[*viewer]bool
	window       wire.Window // of the job's terminal
	activeViewer *viewer     // the viewer whose size it has
	clock        uint64      // counts input, to find the viewer that typed last
	count        uint64      // counts viewers
	status       session.End
	group        sync.WaitGroup
	ending       bool              // the remaining viewers are waited for
	coming       map[int32]*waiter // by pid: processes that are about to connect
	still        inputFreeze
	typing       typing
}

// viewer is one connection. Its goroutine reads the viewer's frames; a second one sends output.
type viewer struct {
	*wire.Peer
	conn    *net.UnixConn
	watcher *watcher // for its output; nil: it is sent none
	pid     int32
	hello   wire.Hello
	window  wire.Window
	typed   uint64        // when it last sent input, by viewers.clock
	number  uint64        // by viewers.count
	left    bool          // it is shown nothing any more; see inputFreeze
	unsent  []byte        // its input that the job has not got yet; only receive uses it
	waiter  *waiter       // nil: the job does not wait for it
	passed  atomic.Uint64 // offset that it has passed logged output on to
	feeds   atomic.Bool   // it has begun to send input and not ended it; see feeding
	replies
	*typeahead.Marks // in the input of its process, over all its connections
	bulk             bulk
}

func newViewers(h *holder, w wire.Window) *viewers {
	vs := &viewers{job: h.job, output: h.output, window: w, kill: h.end, renew: h.renew, gate: &h.gate, all: map[*viewer]bool{}, coming: map[int32]*waiter{}}
	vs.still.changed.L = &vs.mu
	if h.job.tty {
		vs.display = newDisplay(h.output, w, vs.answer)
		h.output.resize(w)
	}
	return vs
}

// accept serves connections until l is closed.
func (vs *viewers) accept(l *net.UnixListener) {
	_ = unixsock.AcceptEach(l, func(c net.Conn) {
		conn := c.(*net.UnixConn)
		v := &viewer{Peer: wire.NewPeer(conn), conn: conn, pid: processOf(conn), Marks: &typeahead.Marks{}}
		if !vs.add(v) {
			_ = v.Write(wire.Refused{Text: "too many viewers are attached"})
			conn.Close()
			return
		}
		go vs.serve(v) // joined by wait
	})
}

// add adds v, if there is room.
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
	vs.continueLocked(v)
	vs.all[v] = true
	vs.group.Add(1)
	return true
}

// remove removes v. The terminal gets the size of the remaining viewer that typed last.
func (vs *viewers) remove(v *viewer) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	delete(vs.all, v)
	vs.still.stopped(v)
	vs.keepLocked(v)
	if vs.typing.by == v && !v.left { // the rest of the input of one that is left may come on another connection
		vs.typing.by = nil
	}
	vs.still.changed.Broadcast() // for viewers that continue it
	vs.output.nudge()            // memory that was needed for it is given back in a while
	if vs.activeViewer == v {
		vs.activeViewer = nil
		for other := range vs.all {
			if other.hello.Flags&wire.FlagInput != 0 && !other.left && (vs.activeViewer == nil || other.typed > vs.activeViewer.typed) {
				vs.activeViewer = other
			}
		}
		vs.resizeLocked()
	}
	vs.group.Done()
}

// size returns the size of the job's terminal.
func (vs *viewers) size() wire.Window {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return vs.window
}

// end releases viewers once they have read everything.
func (vs *viewers) end(s session.End) {
	vs.mu.Lock()
	vs.status = s
	vs.mu.Unlock()
	vs.output.end()
}

// wait returns when all viewers are gone. It drops one that reads nothing for grace.
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
	m, err := v.Read()
	if m, ok := m.(wire.Renew); ok && err == nil {
		_ = v.Write(wire.Refused{Text: vs.renew(m.Program).Error()}) // renew returns only after a failure
		return
	}
	h, ok := m.(wire.Hello)
	if err != nil || !ok {
		return
	}
	if h.Version != wire.Version {
		_ = v.Write(wire.Welcome{Version: wire.Version}) // tells the viewer the holder's version
		return
	}
	_ = v.conn.SetReadDeadline(time.Time{})
	if vs.display != nil && h.Flags&wire.FlagInput != 0 {
		v.begin(vs.display.asked()) // the new terminal must not answer these
	}
	vs.welcome(v, h)
	c := &cursor{viewers: vs, viewer: v, watcher: vs.output.newWatcher(h.Flags&wire.FlagOutput != 0)}
	v.watcher = c.watcher
	defer c.watcher.stop()
	defer vs.parted(v)
	// This runs before the sending goroutine starts, because that start takes as long as drawing a
	// screen.
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

func (vs *viewers) welcome(v *viewer, h wire.Hello) {
	vs.gate.RLock() // a viewer that connects during a renewal is not half admitted
	defer vs.gate.RUnlock()
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v.hello, v.window = h, wire.Window{Rows: h.Rows, Cols: h.Cols}
	v.feeds.Store(vs.followsLocked(v))
	if v.hello.Flags&wire.FlagInput != 0 && v.window.Rows > 0 {
		vs.typedLocked(v)
	}
}
