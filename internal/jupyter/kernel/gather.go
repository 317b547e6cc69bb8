package kernel

import (
	"bufio"
	"net"
	"net/http"
	"sync"
)

// gathering is a client's connection that sends small messages together, because each write costs a
// system call and wakes a process.
type gathering struct {
	net.Conn
	mu   sync.Mutex
	keep bool // writes are held back until Flush
	buf  []byte
}

// maxGathered bounds the bytes that are sent together.
const maxGathered = 32 << 10

// Gather holds small writes back until Flush.
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

// Flush sends the bytes that were held back.
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

// hijacker makes the connection of a request a gathering.
type hijacker struct {
	http.ResponseWriter
	conn *gathering
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = &gathering{Conn: quiet(conn, rw.Reader)}
	return h.conn, rw, nil
}
