//go:build linux

package guest

import (
	"fmt"
	"io"
	"net"
	"time"
)

// identified is a connection whose client has to begin with an SSH
// identification (RFC 4253, section 4.2). One that does not has come to the wrong
// server: it is told so in a line, as sshd does, and waits for nothing.
type identified struct {
	net.Conn
	first []byte // what has been read of its beginning
}

const (
	identPrefix  = "SSH-"
	drainTime    = 50 * time.Millisecond
	identRefusal = "Invalid SSH identification string.\r\n"
)

func (c *identified) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if len(c.first) == len(identPrefix) || n == 0 {
		return n, err
	}
	c.first = append(c.first, p[:min(n, len(identPrefix)-len(c.first))]...)
	if string(c.first) != identPrefix[:len(c.first)] {
		_, _ = io.WriteString(c.Conn, identRefusal)
		c.drain()
		return 0, fmt.Errorf("it begins with %q, which is no SSH identification", c.first)
	}
	if len(c.first) == len(identPrefix) {
		// What follows may wait for a person.
		_ = c.SetDeadline(time.Now().Add(handshakePatience))
	}
	return n, err
}

// drain takes the rest of what was said, if it is there: to close a connection
// that has something to be read can cost the other end what was written last.
func (c *identified) drain() {
	_ = c.SetReadDeadline(time.Now().Add(drainTime))
	_, _ = c.Conn.Read(make([]byte, 4<<10))
}
