//go:build linux

package holder

import (
	"net"
	"sort"
	"sync"
	"time"

	"keyway/internal/session/wire"
	"keyway/internal/typeahead"
	"keyway/internal/unixsock"
)

// inputFreeze holds the viewers' input, so that a holder can be renewed without losing any of it,
// typed or piped. Viewers that are shown output connect again. Their old connections are handed
// over, and end when the job has all input that was sent on them.
type inputFreeze struct {
	on      bool
	moving  map[*viewer]bool // viewers that may still be passing input on
	changed sync.Cond        // of the viewers' lock
}

// stopped notes that v passes nothing on now.
func (s *inputFreeze) stopped(v *viewer) {
	if s.moving[v] {
		delete(s.moving, v)
		s.changed.Broadcast()
	}
}

// hold begins an input freeze. It returns when no input is on its way any more, with the viewers
// that may have sent some, in the order in which they connected.
func (vs *viewers) hold() []*viewer {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.still.on, vs.still.moving = true, map[*viewer]bool{}
	var held []*viewer
	for v := range vs.all {
		if v.hello.Flags&wire.FlagInput == 0 {
			continue
		}
		held = append(held, v)
		vs.still.moving[v], v.left = true, true
		_ = v.conn.CloseWrite() // also ends a write to a viewer that does not read
		_ = v.conn.SetReadDeadline(longAgo)
	}
	sort.Slice(held, func(i, j int) bool { return held[i].number < held[j].number }) // slices.SortFunc is 14 KB for each type
	vs.job.setWriteDeadline(longAgo)
	vs.still.changed.Broadcast()
	for len(vs.still.moving) > 0 {
		vs.still.changed.Wait()
	}
	return held
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// goOn ends the input freeze.
func (vs *viewers) goOn(held []*viewer) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.still.on = false
	vs.job.setWriteDeadline(time.Time{})
	for _, v := range held {
		_ = v.conn.SetReadDeadline(time.Time{})
	}
	vs.still.changed.Broadcast()
}

// turn waits until v's input may be passed on: not in an input freeze, and not before all input
// that the same process sent on an earlier connection. over reports that a process that sends
// nothing is not waited for any more.
func (vs *viewers) turn(v *viewer) (over bool) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for vs.still.on || vs.followsLocked(v) {
		vs.still.stopped(v)
		vs.still.changed.Wait()
	}
	return vs.ending
}

func (vs *viewers) followsLocked(v *viewer) bool {
	for other := range vs.all {
		if other.left && other.number < v.number && other.pid == v.pid && v.pid != 0 {
			return true
		}
	}
	return false
}

// adopt continues to pass on the input of a viewer that was connected before the renewal.
func (vs *viewers) adopt(l leftViewer) {
	f := inherited(l.Conn)
	if f == nil {
		return
	}
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return
	}
	conn := c.(*net.UnixConn)
	v := &viewer{
		Peer: wire.ResumePeer(conn, l.Unread),
		conn: conn, pid: processOf(conn), hello: wire.Hello{Flags: l.Flags}, left: true, unsent: l.Unsent,
		Marks: &typeahead.Marks{},
	}
	vs.add(v)
	if l.Waits {
		v.waiter = vs.output.waitFor(l.At)
	}
	go func() { // joined by wait
		defer vs.remove(v)
		defer vs.parted(v)
		defer conn.Close()
		vs.receive(v)
	}()
}

// processOf returns the pid at the other end of a connection; 0 if it is not known.
func processOf(conn *net.UnixConn) (pid int32) {
	c, err := unixsock.Peer(conn)
	if err != nil {
		return 0
	}
	return c.Pid
}
