package link

import (
	"context"
	"net"
	"sync"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// plain dials streams that end with the way.
type plain struct{ way *way }

// Dial implements Dialer.
func (p plain) Dial(ctx context.Context, name keyway.Name) (net.Conn, error) {
	dial := func() (net.Conn, error) {
		node, err := p.way.node(ctx, nil, nil)
		if err != nil {
			return nil, err
		}
		return node.Dial(ctx, name)
	}
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	return &secondTry{conn: conn, dial: dial, sent: []byte{}}, nil
}

// maxSent bounds in bytes what a secondTry keeps to send again: an ssh says less
// than 4 KiB before its server has spoken.
const maxSent = 64 << 10

// secondTry is a stream that is dialled once more if its way turns out to be
// dead before anything has come back: a node or an ssh that was killed a moment
// ago is still thought to live by the first who needs it.
type secondTry struct {
	dial func() (net.Conn, error)

	mu     sync.Mutex
	conn   net.Conn
	sent   []byte // so far; nil when there is no second try any more
	ended  bool   // CloseWrite was called
	closed bool
}

func (s *secondTry) Read(p []byte) (int, error) {
	n, err := s.current().Read(p)
	if n == 0 && keyway.Is(err, keyway.Unreachable) && s.again() {
		return s.Read(p)
	}
	s.mu.Lock()
	s.sent = nil
	s.mu.Unlock()
	return n, err
}

// again dials and sends what had been sent, the one time that this is possible.
func (s *secondTry) again() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent == nil || s.closed {
		return false
	}
	sent := s.sent
	s.sent = nil
	conn, err := s.dial()
	if err != nil {
		return false
	}
	s.conn.Close()
	s.conn = conn
	if _, err := conn.Write(sent); err == nil && s.ended {
		api.CloseWrite(conn)
	}
	return true // what went wrong now, the next Read says
}

func (s *secondTry) Write(p []byte) (int, error) {
	s.mu.Lock()
	if s.sent != nil && len(s.sent)+len(p) <= maxSent {
		s.sent = append(s.sent, p...)
	} else {
		s.sent = nil
	}
	kept, conn := s.sent != nil, s.conn
	s.mu.Unlock()
	n, err := conn.Write(p)
	if err != nil && kept {
		return len(p), nil // it is sent again, or the reader says why not
	}
	return n, err
}

func (s *secondTry) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	return api.CloseWrite(s.conn)
}

func (s *secondTry) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.conn.Close()
}

func (s *secondTry) current() net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// The rest of a net.Conn is the present connection's.
func (s *secondTry) LocalAddr() net.Addr                { return s.current().LocalAddr() }
func (s *secondTry) RemoteAddr() net.Addr               { return s.current().RemoteAddr() }
func (s *secondTry) SetDeadline(t time.Time) error      { return s.current().SetDeadline(t) }
func (s *secondTry) SetReadDeadline(t time.Time) error  { return s.current().SetReadDeadline(t) }
func (s *secondTry) SetWriteDeadline(t time.Time) error { return s.current().SetWriteDeadline(t) }
