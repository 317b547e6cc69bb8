//go:build linux

package holder

import (
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/session/wire"
)

// send sends output to the viewer until the job's end or until the viewer is gone.
func (c *cursor) send(gone <-chan struct{}) {
	defer c.viewer.conn.CloseWrite()
	for {
		more, err := c.next()
		if err != nil {
			return
		}
		end, over := c.output.state()
		if more && !(over && c.at > end) { // output after the end may never stop
			continue
		}
		if over && (c.at >= end || !c.wants(wire.FlagOutput)) {
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
	_ = v.Write(wire.Ended{Code: uint32(s.Code), Signal: byte(s.Signal)})
}

// cursor is a viewer's position in the output.
type cursor struct {
	*viewers
	viewer  *viewer
	watcher *watcher
	at      uint64
	live    bool // the viewer has been told that history is over
	buf     []byte
	fit     fit         // as last drawn
	drawn   time.Time   // time of the last drawing, where the sizes differ
	size    wire.Window // the size that the viewer was told
	logged  uint64      // bytes from at on that the viewer reads from the log
}

// fit holds the size of a session's terminal and that of a viewer's.
type fit struct{ session, viewer wire.Window }

// crops reports whether the sizes differ, so that output for one does not fit the other.
func (f fit) crops() bool { return f.viewer.Rows > 0 && f.viewer.Cols > 0 && f.viewer != f.session }

func (c *cursor) fits() fit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fit{c.window, c.viewer.window}
}

// frame is the shortest time between two drawings for a viewer's terminal of another size. Each
// draws the whole screen.
const frame = 40 * time.Millisecond

// start finds the viewer's first offset, and sends the history or screen before it.
func (c *cursor) start() error {
	h := c.viewer.hello
	switch {
	case !c.wants(wire.FlagOutput):
		c.at = c.target()
	case !c.wants(wire.FlagTail):
		c.at = h.From
	case c.shows():
		return c.attach(int(min(h.From, maxHistory)))
	case c.wants(wire.FlagScreen): // the viewer did not know that there is no screen
		c.at = c.output.tail(wire.Recent)
	default:
		c.at = c.output.tail(h.From)
	}
	if c.wants(wire.FlagOutput) && c.wants(wire.FlagWhole) {
		c.arrived(c.viewer, c.at)
	}
	return c.viewer.Write(wire.Welcome{Version: wire.Version, TTY: c.job.tty, Offset: c.at})
}

func (c *cursor) wants(flag byte) bool { return c.viewer.hello.Flags&flag != 0 }

// maxHistory bounds the lines of history that a viewer may request.
const maxHistory = 1 << 20

// shows reports whether the viewer requests a picture and there is one.
func (c *cursor) shows() bool { return c.display != nil && c.wants(wire.FlagScreen) }

// attach sends a terminal the history and the screen. Full-screen programs may show content that no
// snapshot has, such as images. They are sent SIGWINCH, on which most redraw.
func (c *cursor) attach(lines int) error {
	c.fit, c.drawn = c.fits(), time.Now()
	display, at, full := c.display.attach(lines, c.fit)
	c.at = at
	if err := c.draw(display, wire.Welcome{Version: wire.Version, TTY: true, Offset: at}); err != nil {
		return err
	}
	if full {
		c.job.signal(unix.SIGWINCH)
	}
	return nil
}

// bringUp draws the current screen on a terminal that is too far behind or of another size.
func (c *cursor) bringUp() error {
	display, at, _ := c.display.attach(0, c.fit)
	if at < c.at {
		return nil
	}
	news := wire.Skipped{Offset: c.at, Count: at - c.at}
	c.at = at
	return c.draw(display, news)
}

// draw sends a picture, which is never empty, together with the message first, so that the viewer
// wakes up once.
func (c *cursor) draw(display []byte, first wire.Message) error {
	n := min(len(display), wire.MaxPayload)
	err := c.viewer.Write(first, wire.ScreenData{Data: display[:n]})
	for display = display[n:]; err == nil && len(display) > 0; display = display[n:] {
		n = min(len(display), wire.MaxPayload)
		err = c.viewer.Write(wire.ScreenData{Data: display[:n]})
	}
	return err
}

func (c *cursor) target() uint64 {
	end, _ := c.output.state()
	return end
}

// refit redraws the screen for a viewer whose size differs, or differed, from the session's, if
// anything has changed.
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
	if !c.wants(wire.FlagOutput) {
		return false, nil
	}
	feeds := c.viewer.feeds.Load()
	if c.logged > 0 {
		if !feeds && c.viewer.passed.Load() < c.at+c.logged {
			return false, nil
		}
		c.at, c.logged = c.at+c.logged, 0
	}
	if w := c.viewer.waiter; w != nil {
		w.passed(c.at)
	}
	if c.wants(wire.FlagLog) && !feeds {
		if m, ok := c.output.logged(c.at); ok {
			c.logged = uint64(m.Count)
			return true, c.viewer.Write(m)
		}
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
		c.buf = make([]byte, wire.MaxOutput)
	}
	buf, err := c.sized()
	if err != nil {
		return false, err
	}
	n, s, err := c.output.read(buf, c.at)
	if err != nil {
		return false, c.tellLive()
	}
	at := c.at
	c.at += n
	if s == wire.Lost {
		return true, c.viewer.Write(wire.Skipped{Offset: at, Count: n})
	}
	return true, c.viewer.Write(wire.Output{Stream: s, Offset: at, Data: c.buf[:n]})
}

// sized tells a viewer that draws by itself the size of the terminal for the next output. It
// returns a buffer for the output that was printed at that size.
func (c *cursor) sized() ([]byte, error) {
	if !c.job.tty || c.wants(wire.FlagScreen) {
		return c.buf, nil
	}
	w, until := c.output.sizeAt(c.at)
	room := c.buf
	if n := until - c.at; n > 0 && n < uint64(len(room)) {
		room = room[:n]
	}
	if w == c.size {
		return room, nil
	}
	c.size = w
	return room, c.viewer.Write(wire.Sized(w))
}

func (c *cursor) tellLive() error {
	if c.live {
		return nil
	}
	c.live = true
	return c.viewer.Write(wire.Live{})
}
