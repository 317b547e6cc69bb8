//go:build linux

package guest

import (
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/pipe"
)

// copySize is the size of one read, in bytes: the largest payload of one SSH packet
// (channelMaxPacket in x/crypto and in OpenSSH), so that each read becomes one packet.
const copySize = 32 << 10

var buffers = pipe.Buffers{Size: copySize}

// halfCloser is a connection that can end its sending side alone.
type halfCloser interface {
	pipe.Halver
	SetWriteDeadline(time.Time) error
}

// lastWords is the time that a connection has to read the bytes that were sent before its channel
// was closed.
const lastWords = time.Minute

// relay copies between an SSH channel and a connection until both directions
// have ended or the channel is closed as a whole, then closes both.
func (c *connection) relay(ch ssh.Channel, reqs <-chan *ssh.Request, conn halfCloser) {
	buffers.Relay(conn, &promptChannel{prompt{ch, c.out, nil}, ch}, func() {
		// The requests end when the channel is closed in both directions.
		ssh.DiscardRequests(reqs)
		_ = conn.SetWriteDeadline(time.Now().Add(lastWords))
	})
}

// promptChannel is a channel whose writes are not held back.
type promptChannel struct {
	prompt prompt
	ch     ssh.Channel
}

// Read implements io.Reader.
func (p *promptChannel) Read(b []byte) (int, error) { return p.ch.Read(b) }

// Write implements io.Writer.
func (p *promptChannel) Write(b []byte) (int, error) { return p.prompt.Write(b) }

// CloseWrite ends the channel's sending side.
func (p *promptChannel) CloseWrite() error { return p.ch.CloseWrite() }

// Close closes the channel as a whole.
func (p *promptChannel) Close() error { return p.ch.Close() }
