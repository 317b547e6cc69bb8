//go:build linux

package guest

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/unixsock"
)

// dialTimeout bounds the time to connect to the target of a forwarding.
const dialTimeout = time.Minute

// serveDirectTCP connects a channel to a TCP port (ssh -L, -D, -W).
func (c *connection) serveDirectTCP(ch ssh.NewChannel) {
	target, err := decode[tcpipChannel](ch.ExtraData())
	if err != nil || target.Port > 65535 {
		_ = ch.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	conn, err := dialTCP(c.ctx, target.Host, int(target.Port))
	if err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	c.acceptAndRelay(ch, conn)
}

// dialTCP connects to host. For localhost it needs neither a hosts file nor a resolver (RFC
// 6761, section 6.3): minimal images have none.
func dialTCP(ctx context.Context, host string, port int) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	hosts := []string{host}
	if host == "localhost" {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var firstErr error
	for _, h := range hosts {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(h, strconv.Itoa(port)))
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return nil, firstErr
}

// serveDirectUnix connects a channel to a unix socket.
func (c *connection) serveDirectUnix(ch ssh.NewChannel) {
	target, err := decode[streamlocalChannel](ch.ExtraData())
	if err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	conn, err := unixsock.Dial(c.absolute(target.Path))
	if err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	c.acceptAndRelay(ch, conn)
}

// absolute makes path absolute, relative to the directory that the client's commands start
// in.
func (c *connection) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.server.account.Start, path)
}

func (c *connection) acceptAndRelay(ch ssh.NewChannel, conn halfCloser) {
	channel, reqs, err := ch.Accept()
	if err != nil {
		conn.Close()
		return
	}
	c.relay(channel, reqs, conn)
}
