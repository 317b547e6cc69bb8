//go:build unix

package hold

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"keyway/internal/handover"
)

var errNoDescriptor = errors.New("a connection without a file descriptor")

// Lines is the program's side: it receives connections from the Keeper, and hands new ones to it.
type Lines struct {
	conn *net.UnixConn
	dir  string // for files

	mu   sync.Mutex
	left map[string]*Line // by kernel: connections that an earlier program has left
}

// Inherit reads the held connections from the descriptor that Start has made. Large messages go
// to unnamed files in dir, or to memory if its disk is full.
func Inherit(f *os.File, dir string) (*Lines, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errNoDescriptor, c.Close())
	}
	l := &Lines{conn: conn, dir: dir, left: map[string]*Line{}}
	for {
		b, err := handover.Receive(conn, maxNote)
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		h, ask, err := receive(b)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		l.left[h.Kernel] = &Line{note: h.note, Conn: h.conn, spill: h.spill, ask: ask}
	}
}

// Left reports whether an earlier program has left a connection to the kernel that Take has not
// yet returned.
func (l *Lines) Left(kernel string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.left[kernel] != nil
}

// Take returns the connection that an earlier program has left, once; otherwise nil.
func (l *Lines) Take(kernel string) *Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := l.left[kernel]
	delete(l.left, kernel)
	return line
}

// Hold hands a connection to the parent. The websocket's handshake is over, and no byte after it
// was read. The Line takes the place of the connection, which Hold closes unless it returns an
// error.
func (l *Lines) Hold(kernel, protocol string, conn net.Conn) (*Line, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errNoDescriptor
	}
	parked, err := park(c)
	if err != nil {
		return nil, err
	}
	spill, err := newSpill(l.dir)
	if err != nil {
		return nil, errors.Join(err, parked.Close())
	}
	ask, theirs, err := pair()
	if err != nil {
		return nil, errors.Join(err, parked.Close(), spill.close())
	}
	defer theirs.Close()
	n := note{Kernel: kernel, Protocol: protocol}
	l.mu.Lock()
	err = send(l.conn, n, parked, spill, theirs)
	l.mu.Unlock()
	if err != nil {
		return nil, errors.Join(err, parked.Close(), spill.close(), ask.Close())
	}
	_ = conn.Close() // the copies of its descriptor stay open
	return &Line{note: n, Conn: parked, spill: spill, ask: ask}, nil
}

// Line is a connection that the parent holds, too. One goroutine reads, another may send.
type Line struct {
	note
	*Conn
	spill spill

	mu  sync.Mutex
	ask net.Conn
}

// Protocol returns the websocket's subprotocol.
func (l *Line) Protocol() string { return l.note.Protocol }

// Sent returns the last request that was sent completely before this program was started.
func (l *Line) Sent() string { return l.note.Sent }

// Spilled returns the number of bytes in the spill.
func (l *Line) Spilled() int64 { return l.note.Spilled }

// Spill moves n bytes from the connection to the end of the spill.
func (l *Line) Spill(n int64) (err error) {
	l.note.extent, err = l.command(command{ask: askSpill, n: n}, nil)
	return err
}

// Clear drops the spill.
func (l *Line) Clear() (err error) {
	l.note.extent, err = l.command(command{ask: askClear}, nil)
	return err
}

// ReadAt reads from the spill.
func (l *Line) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = l.spill.readAt(l.note.extent, p[n:], at+int64(n))
		n += more
	}
	return n, err
}

// Send sends the frames of a request. If this program is killed before the parent has all of
// them, none is sent.
func (l *Line) Send(data []byte, id string) error {
	_, err := l.command(command{ask: askSend, n: int64(len(data)), id: id[:min(len(id), maxID)]}, data)
	return err
}

// Close closes the connection in both processes. It interrupts reads and writes in both.
func (l *Line) Close() error {
	l.shut()
	err := l.Conn.Close()
	_, _ = l.command(command{ask: askDrop}, nil) // fails if the parent is gone or has closed it
	return errors.Join(err, l.ask.Close(), l.spill.close())
}

func (l *Line) command(c command, data []byte) (x extent, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.ask.Write(append(c.append(nil), data...)); err != nil {
		return x, err
	}
	var answer [16]byte
	if _, err := io.ReadFull(l.ask, answer[:]); err != nil {
		return x, err
	}
	return extent{int64(binary.BigEndian.Uint64(answer[:])), int64(binary.BigEndian.Uint64(answer[8:]))}, nil
}
