package mux

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"keyway/internal/sshwire"
)

// Messages of the SSH transport (RFC 4253, section 12; RFC 5656, section 7.1).
const (
	msgNewKeys      = 21
	msgKexECDHReply = 31

	// maxHandshake bounds the bytes that are kept of a server that does not finish its first key
	// exchange.
	maxHandshake = 256 << 10
)

// observed is a connection to an SSH server. It reads the host's signature from the first key
// exchange, which is unencrypted: x/crypto does not return the signature, and an agent accepts no
// other proof of a destination (session-bind@openssh.com). Writes can be held for a moment, so that
// bytes that belong together leave in one piece.
type observed struct {
	net.Conn
	reads atomic.Int64 // number of reads
	moved atomic.Int64 // bytes in both directions
	soon  func()       // called once, when so many bytes have moved that the keys will soon change; may be nil
	once  sync.Once    // of soon

	// Of the reader, until the key exchange has ended.
	buf      []byte
	greeted  bool
	finished bool
	reply    []byte // the message with the host's key and signature

	closed atomic.Bool // by this process
	lost   atomic.Bool // it ended otherwise

	mu    sync.Mutex
	held  []byte
	deep  int           // number of holds
	timer *time.Timer   // ends a long hold
	next  chan struct{} // closed with the next write; nil: no call waits for it
}

// Read implements net.Conn.
func (o *observed) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	if err != nil && !o.closed.Load() {
		o.lost.Store(true)
	}
	o.reads.Add(1)
	o.count(n)
	if !o.finished {
		o.observe(p[:n])
	}
	return n, err
}

// Close implements net.Conn.
func (o *observed) Close() error {
	o.closed.Store(true)
	return o.Conn.Close()
}

// broke reports whether the connection has ended, and not by this process.
func (o *observed) broke() bool { return o.lost.Load() }

// count adds n bytes.
func (o *observed) count(n int) {
	if o.moved.Add(int64(n)) >= renewAfter && o.soon != nil {
		o.once.Do(o.soon)
	}
}

// observe reads the packets of the first key exchange (RFC 4253, section 6), which have neither
// encryption nor MAC.
func (o *observed) observe(p []byte) {
	o.buf = append(o.buf, p...)
	for !o.greeted && len(o.buf) <= maxHandshake {
		line, rest, ok := bytes.Cut(o.buf, []byte("\n"))
		if !ok {
			return
		}
		o.greeted, o.buf = bytes.HasPrefix(line, []byte("SSH-")), rest
	}
	for len(o.buf) >= 6 && len(o.buf) <= maxHandshake {
		n, padding := binary.BigEndian.Uint32(o.buf), int(o.buf[4])
		if n > maxHandshake || int(n) < padding+2 {
			break
		}
		if len(o.buf) < 4+int(n) {
			return
		}
		payload := o.buf[5 : 4+int(n)-padding]
		o.buf = o.buf[4+n:]
		switch payload[0] {
		case msgKexECDHReply:
			o.reply = bytes.Clone(payload[1:])
		case msgNewKeys:
			o.finished, o.buf = true, nil
			return
		}
	}
	if len(o.buf) >= 6 { // not such a server; x/crypto will find out, too
		o.finished, o.buf = true, nil
	}
}

// signature returns the host's signature of the session's identifier; nil if none was seen.
func (o *observed) signature() []byte {
	r := sshwire.NewReader(o.reply)
	_, _, sig := r.String(), r.String(), r.String()
	if r.End() != nil {
		return nil
	}
	return sig
}

const (
	// rekeyAfter is the number of bytes in one direction after which the keys change (RFC 4344
	// requires that for AES). renewAfter is the number in both directions after which a connection
	// gets no new sessions.
	rekeyAfter = 64 << 30
	renewAfter = rekeyAfter / 4 * 3

	// maxHeld bounds the bytes that are held.
	maxHeld = 32 << 10
	// maxHold bounds the time of a hold. While the keys change, a write within a hold waits for the
	// other end, which waits for the held bytes.
	maxHold = 5 * time.Millisecond
)

// Write implements net.Conn.
func (o *observed) Write(p []byte) (int, error) {
	o.count(len(p))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wroteLocked()
	if o.deep > 0 && len(o.held)+len(p) <= maxHeld {
		if o.timer == nil {
			o.timer = time.AfterFunc(maxHold, o.flush)
		}
		o.held = append(o.held, p...)
		return len(p), nil
	}
	if err := o.flushLocked(); err != nil {
		return 0, err
	}
	return o.Conn.Write(p)
}

func (o *observed) flushLocked() error {
	if o.timer != nil {
		o.timer.Stop()
		o.timer = nil
	}
	if len(o.held) == 0 {
		return nil
	}
	b := o.held
	o.held = nil
	_, err := o.Conn.Write(b)
	return err
}

// flush ends a hold.
func (o *observed) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.flushLocked() // the next write returns the error
}

func (o *observed) wroteLocked() {
	if o.next != nil {
		close(o.next)
		o.next = nil
	}
}

// written has start run f, which writes and then waits for an answer. It returns when something has
// been written, or f has returned.
func (o *observed) written(f func(), start func(func())) {
	o.mu.Lock()
	if o.next == nil {
		o.next = make(chan struct{})
	}
	next := o.next
	o.mu.Unlock()
	start(func() {
		f()
		o.mu.Lock()
		defer o.mu.Unlock()
		o.wroteLocked()
	})
	<-next
}

// together sends in one piece everything that f writes.
func (o *observed) together(f func()) {
	o.mu.Lock()
	o.deep++
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.deep--; o.deep == 0 {
			_ = o.flushLocked() // the next write returns the error
		}
	}()
	f()
}
