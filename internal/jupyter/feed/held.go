//go:build unix

package feed

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/textproto"
	"strings"
	"syscall"

	"keyway/internal/jupyter/hold"
	"keyway/internal/jupyter/journal"
)

// Resume returns a feed on a connection that an earlier program has left. Its handshake is over,
// so the feed itself answers the handshake of the websocket library.
func Resume(l *hold.Line) (*Feed, error) {
	f, err := New(l.Conn, true)
	if err != nil {
		return nil, err
	}
	f.line, f.resumed = l, true
	return f, f.walk()
}

// Hold hands the connection to the parent, after the handshake and before any other read. It calls
// give for this, unless an earlier program has handed it over.
func (f *Feed) Hold(give func(net.Conn) (*hold.Line, error)) (err error) {
	if f.line != nil {
		return nil
	}
	if err := f.take(); err != nil { // the handshake
		return err
	}
	if f.line, err = give(f.Conn); err != nil {
		return err
	}
	f.Conn = f.line.Conn
	f.raw, err = f.line.SyscallConn()
	return err
}

// Sent returns the id of the last request that an earlier program has sent completely on this
// connection. resumed reports whether there was an earlier program.
func (f *Feed) Sent() (id string, resumed bool) {
	if f.line == nil || !f.resumed {
		return "", false
	}
	return f.line.Sent(), true
}

// walk finds the position within a frame at which the line's file ends.
func (f *Feed) walk() error {
	head := make([]byte, maxHead)
	size := f.line.Spilled()
	for at := int64(0); at < size; {
		n, err := f.line.ReadAt(head[:min(maxHead, size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		h := readHeader(head[:n])
		if h.size == 0 {
			f.split, f.head, f.direct = true, append(f.head[:0], head[:n]...), 1
			return nil
		}
		at += h.size
		f.direct, f.frame = max(at-size, 0), h.size
	}
	return nil
}

// maxHead bounds the bytes of a frame's header.
const maxHead = 14

// spillStep is the number of bytes that are moved to the file at once.
const spillStep = 1 << 20

// spill moves bytes of a large frame to the file, and reads them from there.
func (f *Feed) spill(p []byte) (int, error) {
	n := min(f.direct, spillStep)
	before := f.line.Spilled()
	if err := f.line.Spill(n); err != nil {
		return 0, fmt.Errorf("the connection ended in the middle of a message: %w", err)
	}
	f.direct -= n
	if f.split {
		var b [1]byte
		if _, err := f.line.ReadAt(b[:], before); err != nil {
			return 0, err
		}
		f.join(b[0])
	}
	return f.readFile(p)
}

func (f *Feed) readFile(p []byte) (int, error) {
	n, err := f.line.ReadAt(p[:min(int64(len(p)), f.line.Spilled()-f.reread)], f.reread)
	f.reread += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// Mark returns the mark of the bytes that were read and not taken.
func (f *Feed) Mark() (journal.Mark, error) { return f.mark(f.buf[:f.at]) }

func (f *Feed) mark(seen []byte) (m journal.Mark, err error) {
	sum := crc32.New(castagnoli)
	if f.line != nil && f.line.Spilled() > 0 { // otherwise there is nothing to copy, and no need to allocate 32 KiB
		m.Bytes, err = io.Copy(sum, io.NewSectionReader(f.line, 0, f.line.Spilled()))
	}
	_, _ = sum.Write(seen) // never fails
	return journal.Mark{Bytes: m.Bytes + int64(len(seen)), Sum: sum.Sum32()}, err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Known reports whether the bytes of one of the marks are at the beginning of the unread bytes. If
// they are, they form the first batch of messages. Known must be called before the first Read.
func (f *Feed) Known(marks []journal.Mark) (found bool, err error) {
	if f.line == nil || f.split || f.direct > 0 {
		return false, nil
	}
	n := 0
	if ctlErr := f.raw.Control(func(fd uintptr) { n, err = peek(int(fd), f.buf) }); ctlErr != nil {
		return false, ctlErr
	}
	if errors.Is(err, syscall.EAGAIN) {
		n, err = 0, nil
	}
	for _, m := range marks {
		rest := m.Bytes - f.line.Spilled()
		if err != nil || m.Bytes == 0 || rest < 0 || rest > int64(n) {
			continue
		}
		var got journal.Mark
		if got, err = f.mark(f.buf[:rest]); err == nil && got == m {
			if rest > 0 {
				f.look(int(rest))
			}
			return true, nil
		}
	}
	return false, err
}

// Sending sets the id of the request that the next message contains. The caller must be the only
// sender of messages.
func (f *Feed) Sending(id string) { f.id = id }

// Write sends frames. It sends all frames of a message at once.
func (f *Feed) Write(p []byte) (int, error) {
	if f.line == nil {
		return f.Conn.Write(p)
	}
	f.out = append(f.out, p...)
	if f.resumed && !f.greeted {
		f.greet()
		return len(p), nil
	}
	if !wholeMessages(f.out) {
		return len(p), nil
	}
	id := ""
	if f.out[0]&0x0f < 8 { // otherwise it is a pong, which another goroutine may send
		id = f.id
	}
	err := f.line.Send(f.out, id)
	if f.out = f.out[:0]; cap(f.out) > window {
		f.out = nil
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close closes the connection in both processes.
func (f *Feed) Close() error {
	if f.line != nil {
		return f.line.Close()
	}
	return f.Conn.Close()
}

// greet answers a complete handshake.
func (f *Feed) greet() {
	if !bytes.HasSuffix(f.out, []byte("\r\n\r\n")) {
		return
	}
	f.greeted = true
	key := ""
	for line := range strings.Lines(string(f.out)) {
		if name, value, ok := strings.Cut(line, ":"); ok && textproto.CanonicalMIMEHeaderKey(name) == "Sec-Websocket-Key" {
			key = strings.TrimSpace(value)
		}
	}
	f.out = nil
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455, 4.2.2
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if p := f.line.Protocol(); p != "" {
		answer += "Sec-WebSocket-Protocol: " + p + "\r\n"
	}
	f.answer = []byte(answer + "\r\n")
}

// wholeMessages reports whether the frames in b end at the end of a message.
func wholeMessages(b []byte) bool {
	open := false
	for len(b) > 0 {
		h := readHeader(b)
		if h.size == 0 || h.size > int64(len(b)) {
			return false
		}
		if b[0]&0x0f < 8 {
			open = b[0]&0x80 == 0
		}
		b = b[h.size:]
	}
	return !open
}
