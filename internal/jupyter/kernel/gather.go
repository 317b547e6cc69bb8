package kernel

import (
	"bufio"
	"net"
	"net/http"
	"sync"
)

// gathering is a client's connection on which small messages go together: each write is
// a call of the operating system, and wakes somebody up.
type gathering struct {
	net.Conn
	mu   sync.Mutex
	keep bool // more comes at once
	buf  []byte
}

// maxGathered bounds in bytes what goes together.
const maxGathered = 32 << 10

// Gather keeps what is written and small until Flush.
func (g *gathering) Gather() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keep = true
}

// Write implements net.Conn.
func (g *gathering) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.keep || len(g.buf)+len(p) > maxGathered {
		if err := g.flush(); err != nil {
			return 0, err
		}
	}
	if !g.keep || len(p) > maxGathered {
		return g.Conn.Write(p)
	}
	g.buf = append(g.buf, p...)
	return len(p), nil
}

// Flush sends what was kept.
func (g *gathering) Flush() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keep = false
	return g.flush()
}

func (g *gathering) flush() error {
	if len(g.buf) == 0 {
		return nil
	}
	_, err := g.Conn.Write(g.buf)
	g.buf = g.buf[:0]
	return err
}

// hijacker has the connection of a request gather what is written.
type hijacker struct {
	http.ResponseWriter
	conn *gathering
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = &gathering{Conn: conn}
	return h.conn, rw, nil
}
