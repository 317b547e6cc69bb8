//go:build linux

package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/session"
	"keyway/internal/unixsock"
)

// Recent is the number of bytes of the latest output that a viewer is shown first when it
// returns to a session without a terminal.
const Recent = 64 << 10

// viewerBuffer is the size of one read of a viewer, in bytes: everything that waits in the
// socket.
const viewerBuffer = 256 << 10

// Connection is a viewer's end of the connection to a holder.
type Connection struct {
	*Peer
	conn *net.UnixConn
	dir  *os.File       // the session's, which may be renamed; nil without FlagLog
	told sync.WaitGroup // reports on the log that are still to be written
	TTY  bool
	At   uint64 // offset of the next output
	// Asked is called when Ctrl-C was typed and not passed on. It returns when the user has
	// answered.
	Asked func() error
}

// Connect attaches to a living session. The error is of kind NotRunning if its holder does not
// answer.
func Connect(dir string, h Hello) (*Connection, error) {
	c, err := dial(dir, h)
	// A holder of version 1 closes the connection on a flag that it does not know.
	if !keyway.Is(err, keyway.VersionMismatch) && !errors.Is(err, io.EOF) {
		return c, err
	}
	program, ownErr := os.Executable()
	if ownErr != nil || RenewHolder(dir, program) != nil {
		return nil, err
	}
	return dial(dir, h)
}

// dial is Connect without renewal. A holder that is being renewed drops new connections; it is
// back at once.
func dial(dir string, h Hello) (c *Connection, err error) {
	h.Version = Version
	var held *os.File
	if h.Flags&FlagLog != 0 {
		if held, err = os.Open(dir); err != nil {
			return nil, notAnswering(err)
		}
		defer func() {
			if c == nil {
				held.Close()
			}
		}()
		dir = pathOf(held)
	}
	for range maxRenewals {
		var conn *net.UnixConn
		conn, err = unixsock.Dial(filepath.Join(dir, session.SockName))
		if err != nil {
			return nil, notAnswering(err)
		}
		c = &Connection{Peer: NewPeer(conn), conn: conn, dir: held}
		c.in = make([]byte, viewerBuffer)
		if err = c.open(h); err == nil {
			return c, nil
		}
		conn.Close()
		c = nil
		if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
			break
		}
	}
	return nil, err
}

// pathOf returns a path to an open directory that follows renames.
func pathOf(dir *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", dir.Fd()) }

func notAnswering(err error) error {
	return keyway.Errorf(keyway.NotRunning, "the session does not answer: %w", err)
}

func (c *Connection) open(h Hello) error {
	// A holder that has no room refuses before it has read anything. The write then fails, and
	// the reason can be read.
	writeErr := c.Write(h)
	m, err := c.Read()
	if err != nil && writeErr != nil {
		err = writeErr
	}
	if err != nil {
		return notAnswering(err)
	}
	switch m := m.(type) {
	case Welcome:
		if m.Version != Version {
			return keyway.Errorf(keyway.VersionMismatch, "the session was started by another version of keyway")
		}
		c.TTY, c.At = m.TTY, m.Offset
		return nil
	case Refused:
		return keyway.Errorf(keyway.NotRunning, "the session says: %s", m.Text)
	}
	return fmt.Errorf("%w: expected a welcome", errMalformed)
}

// A holder may be renewed under a viewer any number of times. It may end within a moment after
// the viewer connected only maxRenewals times: after that, something is wrong with it.
const (
	maxRenewals = 20
	stayed      = 10 * time.Second
)

// Renewals counts how often a holder has ended soon after a viewer had connected to it. The
// zero value is ready for use.
type Renewals struct {
	last time.Time
	n    int
}

// Another reports whether to connect to the holder again.
func (r *Renewals) Another(now time.Time) bool {
	if now.Sub(r.last) > stayed {
		r.n = 0
	}
	r.last = now
	r.n++
	return r.n <= maxRenewals
}

// PumpAll passes output on until the job ends, also while its holder is renewed. at is the
// offset of the next output.
func PumpAll(dir string, h Hello, to Sink) (status *session.End, at uint64, err error) {
	at = h.From
	for r := new(Renewals); r.Another(time.Now()); {
		conn, err := Connect(dir, h)
		if err != nil {
			return nil, at, err
		}
		status, err = conn.Pump(to)
		at = conn.At
		conn.Close()
		if !errors.Is(err, ErrGone) {
			return status, at, err
		}
		h.Flags &^= FlagTail
		h.From = at
	}
	return nil, at, ErrGone
}

// Close closes the connection; the session continues.
func (c *Connection) Close() {
	c.conn.Close()
	c.told.Wait()
	if c.dir != nil {
		c.dir.Close()
	}
}

// ErrGone means that the connection to the holder ended without the job's end.
var ErrGone = errors.New("the connection to the session ended")

// Pump passes output on until the job ends. It returns ErrGone if the connection breaks before
// the end is known.
func (c *Connection) Pump(to Sink) (*session.End, error) {
	for {
		if status, err := c.PumpOne(to); status != nil || err != nil {
			return status, err
		}
	}
}

// PumpOne is Pump for one message. It returns nil and nil while the job runs.
func (c *Connection) PumpOne(to Sink) (*session.End, error) {
	m, err := c.Read()
	switch {
	case errors.Is(err, errMalformed):
		return nil, err
	case err != nil:
		return nil, ErrGone
	}
	switch m := m.(type) {
	case Output:
		err = to.Put(m.Stream, m.Data)
		c.At = m.Offset + uint64(len(m.Data))
	case Logged:
		if err = c.passOn(m, to); errors.Is(err, errMalformed) {
			return nil, err
		}
	case ScreenData:
		err = to.Picture(m.Data)
	case Skipped:
		err = to.Gap(m.Count)
		c.At = m.Offset + m.Count
	case Sized:
		if s, ok := to.(Resizable); ok {
			s.Resized(Window(m))
		}
	case Live:
	case Ask:
		err = c.Asked()
	case Ended:
		return &session.End{Code: int(m.Code), Signal: unix.Signal(m.Signal)}, nil
	default:
		return nil, fmt.Errorf("%w: not for viewers", errMalformed)
	}
	if err != nil {
		return nil, SinkError{err}
	}
	return nil, nil
}

// passOn has the sink read output from the log, and reports that to the holder. The report may
// have to wait for input that the job does not take; the output must not.
func (c *Connection) passOn(l Logged, to Sink) error {
	r, ok := to.(LogReader)
	if !ok || c.dir == nil {
		return fmt.Errorf("%w: not asked for", errMalformed)
	}
	err := r.PutLogged(pathOf(c.dir), l)
	if err == nil {
		c.At = l.Offset + uint64(l.Count)
		passed := Passed{c.At}
		c.told.Go(func() { _ = c.Write(passed) }) // the next read finds out if the holder is gone
	}
	return err
}

// Gone reports whether an error means that a session has no holder any more.
func Gone(err error) bool {
	return errors.Is(err, ErrGone) || keyway.Is(err, keyway.NotRunning)
}
