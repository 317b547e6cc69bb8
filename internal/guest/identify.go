//go:build linux

package guest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// identified is a connection whose ends have exchanged their SSH versions (RFC 4253,
// section 4.2). The guest does that itself before x/crypto does, for two reasons: the
// algorithms that it offers can depend on the client, and a client that does not speak SSH
// is told at once. x/crypto then reads the client's version again, and its own is
// discarded.
type identified struct {
	net.Conn
	in     *bufio.Reader
	replay string // the client's version, for x/crypto
	told   int    // bytes that x/crypto has yet to write and that are sent already
}

const (
	maxIdent     = 255 // bytes of an identification with its CR LF
	identPrefix  = "SSH-"
	identRefusal = "Invalid SSH identification string.\r\n"
	drainTime    = 50 * time.Millisecond
)

// identify exchanges versions with a client. A client that does not speak SSH is sent a
// line that says so, as sshd does.
func identify(conn net.Conn) (*identified, error) {
	if _, err := io.WriteString(conn, serverVersion+"\r\n"); err != nil {
		return nil, err
	}
	c := &identified{Conn: conn, in: bufio.NewReaderSize(conn, maxIdent), told: len(serverVersion) + 2}
	for !strings.HasSuffix(c.replay, "\n") {
		b, err := c.in.ReadByte()
		if err != nil {
			return nil, err
		}
		c.replay += string([]byte{b})
		if n := min(len(c.replay), len(identPrefix)); c.replay[:n] != identPrefix[:n] {
			return nil, c.refuse()
		}
		if len(c.replay) > maxIdent {
			return nil, errors.New("an identification without an end")
		}
	}
	return c, nil
}

// refuse sends the refusal and reads the bytes that the client has sent already. Closing a
// connection with unread data can cost the other end the last bytes sent to it.
func (c *identified) refuse() error {
	_, _ = io.WriteString(c.Conn, identRefusal)
	_ = c.SetReadDeadline(time.Now().Add(drainTime))
	_, _ = c.Conn.Read(make([]byte, 4<<10))
	return fmt.Errorf("it begins with %q, which is not an SSH identification", c.replay)
}

func (c *identified) Read(p []byte) (int, error) {
	if c.replay != "" {
		n := copy(p, c.replay)
		c.replay = c.replay[n:]
		return n, nil
	}
	if c.in.Buffered() > 0 {
		return c.in.Read(p)
	}
	return c.Conn.Read(p)
}

func (c *identified) Write(p []byte) (int, error) {
	skip := min(c.told, len(p))
	if skip == 0 {
		return c.Conn.Write(p)
	}
	c.told -= skip
	if skip == len(p) {
		return skip, nil
	}
	n, err := c.Conn.Write(p[skip:])
	return skip + n, err
}

// isOldLibssh2 reports whether a client is libssh2 before 1.11, which has neither encrypt-then-MAC
// nor AEAD ciphers: curl's on Debian 12 and Ubuntu 22.04. The key exchange signs the version, so an
// attacker on the route cannot make a better client look like one.
func isOldLibssh2(ident string) bool {
	minor, ok := strings.CutPrefix(ident, "SSH-2.0-libssh2_1.")
	minor, _, _ = strings.Cut(minor, ".")
	return ok && (len(minor) == 1 || minor == "10")
}

// offer returns the configuration for this client.
func (c *identified) offer(config *ssh.ServerConfig) *ssh.ServerConfig {
	if !isOldLibssh2(c.replay) {
		return config
	}
	old := *config
	old.MACs = append([]string{ssh.HMACSHA256, ssh.HMACSHA512}, config.MACs...)
	return &old
}
