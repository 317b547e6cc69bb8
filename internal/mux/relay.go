//go:build linux

package mux

import (
	"io"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/mux/stdio"
)

// prompt is a channel whose writes do not wait for those of other sessions.
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

// Read implements io.Reader.
func (p prompt) Read(b []byte) (int, error) { return p.channel.Read(b) }

// CloseWrite ends the channel's sending side.
func (p prompt) CloseWrite() error { return p.channel.CloseWrite() }

// Close closes the channel as a whole.
func (p prompt) Close() error { return p.channel.Close() }

// halfway is a connection that relay copies from and to.
type halfway interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
}

// closing is a local connection that closes its channel when nothing reads the connection any more.
type closing struct {
	halfway
	channel ssh.Channel
}

// CloseWrite ends the connection's sending side or, if it has none, the channel.
func (c closing) CloseWrite() error {
	if half, ok := c.halfway.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		return nil
	}
	return c.channel.Close()
}

// relay copies in both directions until both have ended or the channel is closed. It then closes
// both.
func (g *guest) relay(conn halfway, channel ssh.Channel, requests <-chan *ssh.Request) {
	buffers.Relay(closing{conn, channel}, prompt{channel, g.wire}, func() {
		ssh.DiscardRequests(requests) // until the channel is closed
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	})
}

// standard combines the standard input and output of a client to one connection.
type standard struct{ in, out *stdio.End }

// Read implements io.Reader.
func (s *standard) Read(p []byte) (int, error) { return s.in.Read(p) }

// Write implements io.Writer.
func (s *standard) Write(p []byte) (int, error) { return s.out.Write(p) }

// SetReadDeadline interrupts a waiting Read.
func (s *standard) SetReadDeadline(time.Time) error {
	s.in.Stop()
	return nil
}

// Close interrupts a waiting Read or Write.
func (s *standard) Close() error {
	s.in.Stop()
	s.out.Stop()
	return nil
}
