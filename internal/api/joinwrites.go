package api

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

const (
	// headerWait is the time that the header of an answer waits for the body's first bytes.
	headerWait = time.Millisecond
	// smallWrite is the largest write, in bytes, that is joined with waiting bytes. Larger ones, of
	// more than a packet, are not delayed.
	smallWrite = 4096
	// maxUpdates bounds the bytes by which the windows of the client are smaller than they could
	// be, because an update of them waits. The client does not notice: the smallest of its windows
	// is streamWindow.
	maxUpdates = streamWindow / 64
)

// writeJoiner is a connection that sends a small frame that no peer waits for in one write with the
// next frame; net/http writes each separately. A bastion's sshd uses Nagle's algorithm: it holds
// the second of two small packets until the first is acknowledged, and the laptop delays the
// acknowledgement by 40 ms.
//
// The header of an answer waits for the body's first bytes, for headerWait. Updates of windows wait
// for any other write, as long as they are small: the client sends on without them.
type writeJoiner struct {
	net.Conn

	mu      sync.Mutex
	held    []byte      // waiting frames
	updates uint32      // the sum of the updates among them
	late    *time.Timer // sends a header that waits
	err     error       // of writing it
}

func joinWrites(conn net.Conn) *writeJoiner {
	j := &writeJoiner{Conn: conn}
	j.late = time.AfterFunc(time.Hour, j.flush)
	j.late.Stop()
	return j
}

func (j *writeJoiner) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return 0, j.err
	}
	if sum, ok := windowUpdates(p); ok && j.updates+sum <= maxUpdates {
		j.held = append(j.held, p...)
		j.updates += sum
		return len(p), nil
	}
	// A second header means that the first has no body.
	if opensAnswer(p) && len(j.held) < smallWrite && !j.late.Stop() {
		j.held = append(j.held, p...)
		j.late.Reset(headerWait)
		return len(p), nil
	}
	j.late.Stop()
	if len(j.held) == 0 {
		return j.Conn.Write(p)
	}
	before := len(j.held)
	if len(p) <= smallWrite {
		j.held = append(j.held, p...)
	}
	n, err := j.Conn.Write(j.held)
	joined := len(j.held) > before
	j.held, j.updates = j.held[:0], 0
	if err != nil || joined {
		return max(n-before, 0), err
	}
	return j.Conn.Write(p)
}

// flush sends what waits, with a header whose body has not come.
func (j *writeJoiner) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.held) > 0 {
		_, j.err = j.Conn.Write(j.held)
		j.held, j.updates = j.held[:0], 0
	}
}

// The parts of HTTP/2 that matter here (RFC 9113, sections 4.1, 6.2 and 6.9).
const (
	frameHead             = 9
	headers               = 0x1
	windowUpdate          = 0x8
	endsStream, endsBlock = 0x1, 0x4
)

// frameLength returns the length of the payload of the frame at the start of p, which has its head.
func frameLength(p []byte) int { return int(p[0])<<16 | int(p[1])<<8 | int(p[2]) }

// opensAnswer reports whether p is one HTTP/2 frame with a complete header, and a body will follow.
func opensAnswer(p []byte) bool {
	return len(p) >= frameHead && p[3] == headers && p[4]&(endsStream|endsBlock) == endsBlock &&
		len(p)-frameHead == frameLength(p)
}

// windowUpdates returns the sum of the updates of windows in p, if p is nothing else.
func windowUpdates(p []byte) (sum uint32, ok bool) {
	const length = 4
	for ; len(p) >= frameHead+length && p[3] == windowUpdate && frameLength(p) == length; p = p[frameHead+length:] {
		sum += min(binary.BigEndian.Uint32(p[frameHead:]), maxUpdates+1)
		ok = true
	}
	return sum, ok && len(p) == 0
}
