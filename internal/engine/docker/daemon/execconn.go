package daemon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/moby/moby/client"

	"keyway/internal/bounded"
)

// demux reads the standard output of a command without a terminal from a daemon's stream. The
// stream consists of frames: 1 byte stream, 3 zero bytes, 4 bytes length (big-endian), and as many
// bytes of data (Engine API, "Stream format"). demux keeps the start of standard error to explain
// an early end.
type demux struct {
	from   io.Reader
	left   uint32 // bytes left in the present frame of standard output
	stderr bounded.Buffer
}

// The streams of a frame.
const (
	streamStdin = iota
	streamStdout
	streamStderr
	streamSystem // messages of the daemon; dockerd sends errors there
)

// maxStderr bounds the kept bytes of standard error.
const maxStderr = 2 << 10

func newDemux(from io.Reader) *demux {
	return &demux{from: from, stderr: bounded.Buffer{Max: maxStderr}}
}

func (d *demux) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for d.left == 0 {
		if err := d.next(); err != nil {
			return 0, err
		}
	}
	n, err := d.from.Read(p[:min(len(p), int(d.left))])
	d.left -= uint32(n)
	if errors.Is(err, io.EOF) && d.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads frames until one of standard output begins.
func (d *demux) next() error {
	var header [8]byte
	if _, err := io.ReadFull(d.from, header[:]); err != nil {
		return d.ended(err)
	}
	size := binary.BigEndian.Uint32(header[4:])
	switch header[0] {
	case streamStdin, streamStdout:
		d.left = size
		return nil
	case streamStderr, streamSystem:
		_, err := io.CopyN(&d.stderr, d.from, int64(size))
		return err
	}
	return fmt.Errorf("the daemon sends a frame of an unknown stream %d", header[0])
}

// ended returns the end of the output, with the reason if the command gave one.
func (d *demux) ended(err error) error {
	said := strings.TrimSpace(strings.ToValidUTF8(d.stderr.String(), "?"))
	if errors.Is(err, io.EOF) && said != "" {
		return fmt.Errorf("the connection ended: %s", said)
	}
	return err
}

// ExecConn is a connection to the standard input and output of a command in a container. Its
// addresses and deadlines are those of the connection to the daemon.
type ExecConn struct {
	net.Conn
	reading sync.Mutex
	out     *demux
	closer  client.CloseWriter
}

func newExecConn(h client.HijackedResponse) *ExecConn {
	return &ExecConn{Conn: h.Conn, out: newDemux(h.Reader), closer: &h}
}

func (c *ExecConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	return c.out.Read(p)
}

// CloseWrite ends the command's standard input.
func (c *ExecConn) CloseWrite() error { return c.closer.CloseWrite() }

// Exec runs a command in the container; the connection is its standard input and
// output.
func (c *Client) Exec(ctx context.Context, id string, command ...string) (*ExecConn, error) {
	conn, _, err := c.ExecWith(ctx, id, client.ExecCreateOptions{Cmd: command})
	return conn, err
}

// ExecWith is Exec with all options of o. It also returns the daemon's ID of the command. Closing
// the connection does not end the command.
func (c *Client) ExecWith(ctx context.Context, id string, o client.ExecCreateOptions) (conn *ExecConn, exec string, err error) {
	o.AttachStdin, o.AttachStdout, o.AttachStderr = true, true, true
	made, err := c.ExecCreate(ctx, id, o)
	if err != nil {
		return nil, "", err
	}
	attached, err := c.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return nil, "", err
	}
	return newExecConn(attached.HijackedResponse), made.ID, nil
}
