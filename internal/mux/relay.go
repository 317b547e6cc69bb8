//go:build linux

package mux

import (
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// prompt writes to a channel what waits for nobody else's session.
type prompt struct {
	channel ssh.Channel
	wire    *observed
}

// Write implements io.Writer.
func (p prompt) Write(b []byte) (int, error) {
	n, err := p.channel.Write(b)
	p.wire.flush()
	return n, err
}

// halfway is what relay copies from and to.
type halfway interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
}

// relay copies both ways until both have ended, or the channel is closed.
func (g *guest) relay(conn halfway, channel ssh.Channel, requests <-chan *ssh.Request) {
	var closed, copied sync.WaitGroup
	closed.Go(func() {
		ssh.DiscardRequests(requests) // until the channel is closed
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	})
	copied.Go(func() {
		copyTo(prompt{channel, g.wire}, conn)
		_ = channel.CloseWrite()
	})
	copyTo(conn, channel)
	if half, ok := conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		channel.Close() // nobody reads any more
	}
	copied.Wait()
	channel.Close()
	closed.Wait()
}

// copyTo copies with buffers that are shared.
func copyTo(to io.Writer, from io.Reader) {
	buf := buffers.Get().(*[copySize]byte)
	defer buffers.Put(buf)
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// stdio is the standard input and output of a client as one connection.
type stdio struct{ in, out *end }

// Read implements io.Reader.
func (s *stdio) Read(p []byte) (int, error) { return s.in.Read(p) }

// Write implements io.Writer.
func (s *stdio) Write(p []byte) (int, error) { return s.out.Write(p) }

// SetReadDeadline ends what waits in Read.
func (s *stdio) SetReadDeadline(time.Time) error {
	s.in.stop()
	return nil
}

// Close ends what waits in Read or Write.
func (s *stdio) Close() error {
	s.in.stop()
	s.out.stop()
	return nil
}
