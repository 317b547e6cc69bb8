//go:build unix

// Package feed reads a kernel's messages from a connection. Received bytes stay in the operating
// system's buffer until the messages that they contain have been written to the journal. A slow
// disk therefore slows the sender down, and needs no memory here.
//
// The package reads the frames of a websocket's server (RFC 6455) only to find where each begins
// and ends.
//
// With Hold, the parent process holds the connection, too (package hold). A program that was
// started again continues with Resume. Its Mark identifies the bytes that an earlier program has
// written to the journal and has not taken from the operating system.
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

// Feed is a connection on which a websocket's handshake follows. One goroutine calls Read and
// Taken; another may call Write.
type Feed struct {
	net.Conn
	raw    syscall.RawConn
	shaken bool   // the handshake is over
	plain  bool   // the handshake has failed: no frames follow
	buf    []byte // copy of received bytes that the operating system still keeps:
	at     int    // end of the bytes that Read has returned,
	stop   int    // end of the frame that is being read,
	whole  int    // end of the complete messages
	more   int    // number of messages that end after stop
	direct int64  // remaining bytes of a large frame, which Read takes from the connection
	frame  int64  // size of that frame
	split  bool   // the header of that frame is incomplete
	head   []byte // the bytes of that header so far

	line    *hold.Line // nil unless the parent holds the connection
	reread  int64      // position in the line's file
	answer  []byte     // remaining bytes of the answer to the library's handshake
	out     []byte     // frames to send, up to the end of a message
	id      string     // of the request that out contains
	resumed bool       // an earlier program has left the connection
	greeted bool       // the library has received the answer to its handshake
}

const (
	// window bounds the bytes that are examined at once.
	window = 64 << 10
	// maxLeft bounds, in bytes, the frames that stay with the operating system until they are
	// complete. Its buffer may not have room for larger ones.
	maxLeft = 32 << 10
)

// New returns a feed on a connection. shaken tells whether the handshake is over.
func New(c net.Conn, shaken bool) (*Feed, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil, errors.New("a connection without a file descriptor")
	}
	raw, err := s.SyscallConn()
	return &Feed{Conn: c, raw: raw, shaken: shaken, buf: make([]byte, window)}, err
}

// More reports whether another complete message can be read without waiting.
func (f *Feed) More() bool { return f.more > 0 }

// Frame returns the size, in bytes, of the frame that is being read; 0 if it is not known yet.
func (f *Feed) Frame() int64 { return f.frame }

// Taken removes from the operating system's buffer all messages that were read. The caller has
// written them to the journal.
func (f *Feed) Taken() error {
	if err := f.take(); err != nil || f.line == nil || f.line.Spilled() == 0 {
		return err
	}
	f.reread = 0
	return f.line.Clear()
}

// take removes from the operating system's buffer the bytes that were read.
func (f *Feed) take() error {
	n := f.at
	f.at, f.stop, f.whole, f.more = 0, 0, 0, 0
	_, err := io.ReadFull(f.Conn, f.buf[:n])
	return err
}

// Read implements io.Reader. It does not read past the end of a frame.
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

// join adds a byte to an incomplete header.
func (f *Feed) join(b byte) {
	f.head = append(f.head, b)
	h := readHeader(f.head)
	f.split, f.frame = h.size == 0, h.size
	f.direct = max(h.size-int64(len(f.head)), 0)
	if f.split {
		f.direct = 1
	}
}

// next moves on to the next frame.
func (f *Feed) next() error {
	if f.at == f.whole {
		// The bytes before it are control frames or a part of a message.
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

// fill waits for a complete message or another frame.
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

// shake examines n bytes of the answer to the handshake. It reports whether they can be read: the
// library bounds the time that an answer may take.
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

// look examines n bytes of frames. If they begin with an incomplete frame, that frame is read from
// the connection directly: a server sends small frames in one piece.
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

// header is a frame's header.
type header struct {
	size int64 // of the frame, in bytes; 0 if the header is incomplete
	ends bool  // the frame is a complete message
	part bool  // the frame is a part of a message
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
	if b[1]&0x80 != 0 { // a masked frame, which the websocket library refuses
		head += 4
	}
	data := code < 8
	return header{head + n, data && final && code != 0, data && (!final || code == 0)}
}
