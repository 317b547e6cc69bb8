package api

import (
	"net"
	"sync"
	"time"
)

const (
	// headerWait is the time that the header of an answer waits for the body's first bytes.
	headerWait = time.Millisecond
	// smallWrite is the largest write, in bytes, that is joined with a header. Larger ones, of more
	// than a packet, are not delayed.
	smallWrite = 4096
)

// headerJoiner is a connection that sends the header of an answer and the first bytes of its body
// in one write, if these come within headerWait; net/http writes them separately. A bastion's sshd
// uses Nagle's algorithm: it holds the second of two small packets until the first is acknowledged,
// and the laptop delays the acknowledgement by 40 ms.
type headerJoiner struct {
	net.Conn

	mu   sync.Mutex
	held []byte // a waiting header
	late *time.Timer
	err  error // of writing a header that did not wait any longer
}

func joinHeaders(conn net.Conn) *headerJoiner {
	j := &headerJoiner{Conn: conn}
	j.late = time.AfterFunc(time.Hour, j.flush)
	j.late.Stop()
	return j
}

func (j *headerJoiner) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.err != nil:
		return 0, j.err
	case len(j.held) == 0 && opensAnswer(p):
		j.held = append(j.held, p...)
		j.late.Reset(headerWait)
		return len(p), nil
	case len(j.held) == 0:
		return j.Conn.Write(p)
	}
	j.late.Stop()
	header := len(j.held)
	if len(p) <= smallWrite {
		j.held = append(j.held, p...)
	}
	n, err := j.Conn.Write(j.held)
	joined := len(j.held) > header
	j.held = j.held[:0]
	if err != nil || joined {
		return max(n-header, 0), err
	}
	return j.Conn.Write(p)
}

// flush sends a header whose body has not come.
func (j *headerJoiner) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.held) > 0 {
		_, j.err = j.Conn.Write(j.held)
		j.held = j.held[:0]
	}
}

// opensAnswer reports whether p is one HTTP/2 frame with a complete header, and a body will follow.
func opensAnswer(p []byte) bool {
	const (
		frameHead           = 9
		headers             = 0x1
		endStream, endBlock = 0x1, 0x4
	)
	return len(p) >= frameHead && p[3] == headers && p[4]&(endStream|endBlock) == endBlock &&
		len(p)-frameHead == int(p[0])<<16|int(p[1])<<8|int(p[2])
}
