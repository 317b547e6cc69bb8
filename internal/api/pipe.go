package api

import (
	"io"
	"net"
	"sync"
	"time"
)

// ReadAhead is how much to read of a pipe at once, in bytes: several frames when
// they wait, each of which would else take two reads.
const ReadAhead = 256 << 10

// PipeConn makes a connection of a reader and a writer, such as a process's
// standard input and output. close is called once and must end both.
func PipeConn(r io.Reader, w io.Writer, close func() error) net.Conn {
	return &pipeConn{Reader: r, Writer: w, close: sync.OnceValue(close)}
}

type pipeConn struct {
	io.Reader
	io.Writer
	close func() error
}

func (p *pipeConn) Close() error         { return p.close() }
func (p *pipeConn) LocalAddr() net.Addr  { return pipeAddr{} }
func (p *pipeConn) RemoteAddr() net.Addr { return pipeAddr{} }

// Deadlines do nothing on a pipe: HTTP/2's own pings find a dead one.
func (p *pipeConn) SetDeadline(time.Time) error      { return nil }
func (p *pipeConn) SetReadDeadline(time.Time) error  { return nil }
func (p *pipeConn) SetWriteDeadline(time.Time) error { return nil }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "stdio" }
