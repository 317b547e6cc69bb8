//go:build unix

// Package feed reads a kernel's messages from its connection. It knows which of them are there
// whole, so that these are written down together, and leaves them with the operating system until
// they are: what a slow disk holds back waits there.
//
// It reads the frames of a websocket's server (RFC 6455) only as far as to know where
// each begins and ends.
//
// With Hold, the parent process has the connection, too (package hold): a program that is
// started again goes on with Resume. It finds what was written down, and not yet taken
// from the operating system, by its Mark.
package feed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"

	"keyway/internal/jupyter/hold"
)

// Feed is a connection on which a websocket's handshake is to come. One goroutine reads
// and calls Taken; Write may be another's.
type Feed struct {
	net.Conn
	raw    syscall.RawConn
	shaken bool   // the handshake is over
	plain  bool   // it has failed: what comes is no frames
	buf    []byte // what was seen of what is left with the operating system:
	at     int    // was read,
	stop   int    // is the end of the frame that is being read,
	whole  int    // and of the whole ones
	more   int    // messages that end after stop
	direct int64  // bytes of a large frame that are read from the connection itself
	frame  int64  // the size of that frame
	split  bool   // the header of that frame is not whole
	head   []byte // and begins with this

	line    *hold.Line // nil as long as no parent has the connection
	reread  int64      // how far the line's file was read
	answer  []byte     // to a handshake that another program has had, what is left of it
	out     []byte     // frames that are to be sent, up to the end of a message
	id      string     // of the request that they are
	resumed bool       // an earlier program has left the connection
	greeted bool       // the library has had its handshake
}

const (
	// window is how much is looked at, at once, in bytes.
	window = 64 << 10
	// maxLeft is how large a frame may be to be left with the operating system until it
	// is whole: more may not fit there.
	maxLeft = 32 << 10
)

// New makes a connection a feed. shaken reports whether the handshake is over.
func New(c net.Conn, shaken bool) (*Feed, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil, errors.New("a connection without a file descriptor")
	}
	raw, err := s.SyscallConn()
	return &Feed{Conn: c, raw: raw, shaken: shaken, buf: make([]byte, window)}, err
}

// More reports whether another whole message can be read without waiting.
func (f *Feed) More() bool { return f.more > 0 }

// Frame returns the size in bytes of the frame that is being read; 0: that is not known yet.
func (f *Feed) Frame() int64 { return f.frame }

// Taken says that all messages that were read are written down.
func (f *Feed) Taken() error {
	if err := f.take(); err != nil || f.line == nil || f.line.Spilled() == 0 {
		return err
	}
	f.reread = 0
	return f.line.Clear()
}

// take takes what was read from the operating system.
func (f *Feed) take() error {
	n := f.at
	f.at, f.stop, f.whole, f.more = 0, 0, 0, 0
	_, err := io.ReadFull(f.Conn, f.buf[:n])
	return err
}

// Read reads at most to the end of a frame.
func (f *Feed) Read(p []byte) (int, error) {
	if len(f.answer) > 0 {
		n := copy(p, f.answer)
		f.answer = f.answer[n:]
		return n, nil
	}
	if f.line != nil && f.reread < f.line.Spilled() {
		return f.readFile(p)
	}
	for f.at == f.stop && f.direct == 0 && len(p) > 0 {
		if f.plain {
			if err := f.take(); err != nil {
				return 0, err
			}
			return f.Conn.Read(p)
		}
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	if f.direct > 0 && f.line != nil {
		return f.spill(p)
	}
	if f.direct > 0 {
		n, err := f.Conn.Read(p[:min(int64(len(p)), f.direct)])
		if f.direct -= int64(n); f.split && n > 0 {
			f.join(p[0])
		}
		return n, err
	}
	n := copy(p, f.buf[f.at:f.stop])
	f.at += n
	return n, nil
}

// join adds a byte to a header that comes in pieces.
func (f *Feed) join(b byte) {
	f.head = append(f.head, b)
	h := readHeader(f.head)
	f.split, f.frame = h.size == 0, h.size
	f.direct = max(h.size-int64(len(f.head)), 0)
	if f.split {
		f.direct = 1
	}
}

// next goes on to the next frame.
func (f *Feed) next() error {
	if f.at == f.whole {
		// what was read is control frames, or a part of a message
		if err := f.take(); err != nil {
			return err
		}
		return f.fill()
	}
	f.step()
	return nil
}

func (f *Feed) step() {
	h := readHeader(f.buf[f.at:f.whole])
	f.stop, f.frame = f.at+int(h.size), h.size
	if h.ends {
		f.more--
	}
}

// fill waits for a whole message or another frame.
func (f *Feed) fill() error {
	var failed error
	err := f.raw.Read(func(fd uintptr) bool {
		n, err := peek(int(fd), f.buf)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return false
		case err != nil:
			failed = err
		case n == 0:
			failed = io.EOF
		case !f.shaken:
			return f.shake(n)
		default:
			f.look(n)
		}
		return true
	})
	if failed != nil {
		return failed
	}
	return err
}

func peek(fd int, p []byte) (n int, err error) {
	for {
		if n, _, err = syscall.Recvfrom(fd, p, syscall.MSG_PEEK); !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

// shake looks at so many bytes of the handshake's answer. It reports whether they can be
// read: the library bounds how long an answer may take.
func (f *Feed) shake(n int) bool {
	at := bytes.Index(f.buf[:n], []byte("\r\n\r\n"))
	if at < 0 && n < len(f.buf) {
		return false
	}
	f.shaken, f.plain = true, at < 0 || !bytes.HasPrefix(f.buf, []byte("HTTP/1.1 101 "))
	if at >= 0 {
		f.stop, f.whole = at+4, at+4
	}
	return true
}

// look looks at so many bytes of frames. If they begin with a frame that is not whole,
// that is read from the connection itself: a server sends a small one whole.
func (f *Feed) look(n int) {
	for end := 0; ; {
		h := readHeader(f.buf[end:n])
		if h.size == 0 || h.size > maxLeft || h.part || h.size > int64(n-end) {
			if f.whole == 0 {
				f.direct, f.frame, f.split, f.head = max(h.size, 1), h.size, h.size == 0, f.head[:0]
			}
			break
		}
		end += int(h.size)
		if h.ends {
			f.more++
		}
		if h.ends || f.more == 0 {
			f.whole = end
		}
	}
	if f.whole > 0 {
		f.step()
	}
}

// header is what is read of a frame's.
type header struct {
	size int64 // of the frame; 0 if that cannot be told yet
	ends bool  // it is a whole message
	part bool  // it is part of one
}

func readHeader(b []byte) header {
	if len(b) < 2 {
		return header{}
	}
	final, code := b[0]&0x80 != 0, b[0]&0x0f
	head, n := int64(2), int64(b[1]&0x7f)
	switch {
	case n == 126 && len(b) >= 4:
		head, n = 4, int64(binary.BigEndian.Uint16(b[2:]))
	case n == 127 && len(b) >= 10:
		head, n = 10, int64(binary.BigEndian.Uint64(b[2:])&(1<<62-1))
	case n >= 126:
		return header{}
	}
	if b[1]&0x80 != 0 { // masked, which the reader refuses
		head += 4
	}
	data := code < 8
	return header{head + n, data && final && code != 0, data && (!final || code == 0)}
}
