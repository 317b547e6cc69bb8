//go:build linux

package session

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// recentBytes are shown of a session without a terminal that somebody comes back to.
const recentBytes = 64 << 10

// connection is a viewer's end of the connection to a holder.
type connection struct {
	*peer
	conn *net.UnixConn
	tty  bool
	at   uint64 // offset of the output that comes next
	// asked is called when Ctrl-C was typed and not passed on; it returns when the
	// user has said what it is to mean.
	asked func() error
}

// connect attaches to a living session. The error is of kind NotRunning if its
// holder does not answer (any more).
func connect(dir string, h hello) (*connection, error) {
	c, err := dial(dir, h)
	// A holder of version 1 hangs up on a flag that it does not know.
	if !keyway.Is(err, keyway.VersionMismatch) && !errors.Is(err, io.EOF) {
		return c, err
	}
	program, ownErr := os.Executable()
	if ownErr != nil || renewHolder(dir, program) != nil {
		return nil, err
	}
	return dial(dir, h)
}

// dial is connect without renewal. A holder that is being renewed drops those that
// it has just let in; it is there again at once.
func dial(dir string, h hello) (c *connection, err error) {
	h.Version = version
	for range maxRenewals {
		var conn *net.UnixConn
		conn, err = unixsock.Dial(filepath.Join(dir, sockName))
		if err != nil {
			return nil, notAnswering(err)
		}
		c = &connection{peer: newPeer(conn), conn: conn}
		if err = c.open(h); err == nil {
			return c, nil
		}
		conn.Close()
		if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
			break
		}
	}
	return nil, err
}

func notAnswering(err error) error {
	return keyway.Errorf(keyway.NotRunning, "the session does not answer: %w", err)
}

func (c *connection) open(h hello) error {
	// A holder that has no room refuses before it has read anything: then the
	// write fails, and the reason is there to be read.
	writeErr := c.write(h)
	m, err := c.read()
	if err != nil && writeErr != nil {
		err = writeErr
	}
	if err != nil {
		return notAnswering(err)
	}
	switch m := m.(type) {
	case welcome:
		if m.Version != version {
			return keyway.Errorf(keyway.VersionMismatch, "the session was started by another version of keyway")
		}
		c.tty, c.at = m.TTY, m.Offset
		return nil
	case refused:
		return keyway.Errorf(keyway.NotRunning, "the session says: %s", m.Text)
	}
	return fmt.Errorf("%w: expected a welcome", errMalformed)
}

// A holder may go away under a viewer and be there again any number of times, but so
// often only without having stayed for a moment: then something is wrong with it.
const (
	maxRenewals = 20
	stayed      = 10 * time.Second
)

// renewals counts how often a holder went away soon. The zero value is for a viewer
// that begins.
type renewals struct {
	last time.Time
	n    int
}

// another says whether to look for the holder (again).
func (r *renewals) another(now time.Time) bool {
	if now.Sub(r.last) > stayed {
		r.n = 0
	}
	r.last = now
	r.n++
	return r.n <= maxRenewals
}

// pumpAll passes output on until the job ends, also while its holder is renewed. at
// is the offset of the output that would come next.
func pumpAll(dir string, h hello, to sink) (status *jobEnd, at uint64, err error) {
	at = h.From
	for r := new(renewals); r.another(time.Now()); {
		conn, err := connect(dir, h)
		if err != nil {
			return nil, at, err
		}
		status, err = conn.pump(to)
		at = conn.at
		conn.close()
		if !errors.Is(err, errGone) {
			return status, at, err
		}
		h.Flags &^= flagTail
		h.From = at
	}
	return nil, at, errGone
}

func (c *connection) close() { c.conn.Close() }

// errGone says that the holder went away without saying how the job ended.
var errGone = errors.New("the connection to the session ended")

// pump passes output on until the job ends. It returns errGone if that does not
// become known over this connection.
func (c *connection) pump(to sink) (*jobEnd, error) {
	for {
		if status, err := c.pumpOne(to); status != nil || err != nil {
			return status, err
		}
	}
}

// pumpOne is pump for one message.
func (c *connection) pumpOne(to sink) (*jobEnd, error) {
	m, err := c.read()
	switch {
	case errors.Is(err, errMalformed):
		return nil, err
	case err != nil:
		return nil, errGone
	}
	switch m := m.(type) {
	case output:
		err = to.put(m.Stream, m.Data)
		c.at = m.Offset + uint64(len(m.Data))
	case screenData:
		err = to.picture(m.Data)
	case skipped:
		err = to.gap(m.Count)
		c.at = m.Offset + m.Count
	case sizedM:
		if s, ok := to.(resizable); ok {
			s.resized(window{m.Rows, m.Cols})
		}
	case live:
	case ask:
		err = c.asked()
	case ended:
		return &jobEnd{code: int(m.Code), signal: unix.Signal(m.Signal)}, nil
	default:
		return nil, fmt.Errorf("%w: not for viewers", errMalformed)
	}
	if err != nil {
		return nil, sinkError{err}
	}
	return nil, nil
}

// isGone reports whether an error says that a session has no holder any more.
func isGone(err error) bool {
	return errors.Is(err, errGone) || keyway.Is(err, keyway.NotRunning)
}
