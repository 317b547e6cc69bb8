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

	// maxHandshake bounds in bytes what is kept of a server that does not come to the
	// end of its first key exchange.
	maxHandshake = 256 << 10
)

// observed is a connection to a server of SSH. It reads the host's signature from the
// first key exchange, which is in the clear: x/crypto does not tell it, and an agent
// believes a destination by nothing else (session-bind@openssh.com). Writes
// can be held for a moment, so that bytes that belong together leave in one piece.
type observed struct {
	net.Conn
	reads atomic.Int64 // how often something was read
	moved atomic.Int64 // bytes, of both directions
	soon  func()       // called once, when they are so many that the keys will soon change; may be nil
	once  sync.Once    // of soon

	// Of the reader, until the key exchange has ended.
	buf      []byte
	greeted  bool
	finished bool
	reply    []byte // the message with the host's key and signature

	mu    sync.Mutex
	held  []byte
	deep  int         // holds
	timer *time.Timer // ends one that takes long
}

// Read implements net.Conn.
func (o *observed) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	o.reads.Add(1)
	o.count(n)
	if !o.finished {
		o.observe(p[:n])
	}
	return n, err
}

// count counts n bytes more.
func (o *observed) count(n int) {
	if o.moved.Add(int64(n)) >= renewAfter && o.soon != nil {
		o.once.Do(o.soon)
	}
}

// observe reads the packets of the first key exchange (RFC 4253, section 6). There is
// no encryption and no MAC yet.
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
	if len(o.buf) >= 6 { // it is no such server, which x/crypto will find, too
		o.finished, o.buf = true, nil
	}
}

// signature is the host's signature of the session's identifier; nil if none was seen.
func (o *observed) signature() []byte {
	r := sshwire.NewReader(o.reply)
	_, _, sig := r.String(), r.String(), r.String()
	if r.End() != nil {
		return nil
	}
	return sig
}

const (
	// rekeyAfter is how many bytes of a direction keys are good for (RFC 4344 demands
	// this for AES), and renewAfter how many of both a connection takes new sessions for.
	rekeyAfter = 64 << 30
	renewAfter = rekeyAfter / 4 * 3

	// maxHeld bounds in bytes what is held.
	maxHeld = 32 << 10
	// maxHold bounds how long. While the keys change, a write within a hold waits for the
	// other end, which waits for what is held.
	maxHold = 5 * time.Millisecond
)

// Write implements net.Conn.
func (o *observed) Write(p []byte) (int, error) {
	o.count(len(p))
	o.mu.Lock()
	defer o.mu.Unlock()
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

// flush ends waiting for what belongs together.
func (o *observed) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.flushLocked() // the next write tells
}

// together writes in one piece what f writes.
func (o *observed) together(f func()) {
	o.mu.Lock()
	o.deep++
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.deep--; o.deep == 0 {
			_ = o.flushLocked() // the next write tells
		}
	}()
	f()
}
