package pipe

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// ReadAhead is the size of one read from a pipe, in bytes: several waiting frames, each of
// which would otherwise need two reads.
const ReadAhead = 256 << 10

// Conn makes a connection of a reader and a writer, such as a process's standard input
// and output. close is called once and must end both.
func Conn(r io.Reader, w io.Writer, close func() error) net.Conn {
	return &joined{Reader: r, Writer: w, close: sync.OnceValue(close)}
}

type joined struct {
	addresses
	io.Reader
	io.Writer
	close func() error
}

func (j *joined) Close() error { return j.close() }

// Deadlines do nothing: HTTP/2's own pings find a dead connection.
func (j *joined) SetDeadline(time.Time) error      { return nil }
func (j *joined) SetReadDeadline(time.Time) error  { return nil }
func (j *joined) SetWriteDeadline(time.Time) error { return nil }

// Pair is the connection that two pipes make. Its deadlines work if the pipes do not
// block.
type Pair struct {
	addresses
	In, Out *os.File
}

// Read implements net.Conn.
func (p *Pair) Read(b []byte) (int, error) { return p.In.Read(b) }

// Write implements net.Conn.
func (p *Pair) Write(b []byte) (int, error) { return p.Out.Write(b) }

// CloseWrite ends the input of the other end.
func (p *Pair) CloseWrite() error { return p.Out.Close() }

// Close implements net.Conn.
func (p *Pair) Close() error {
	_ = p.Out.Close() // CloseWrite may have been first
	return p.In.Close()
}

// SetReadDeadline implements net.Conn.
func (p *Pair) SetReadDeadline(t time.Time) error { return p.In.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (p *Pair) SetWriteDeadline(t time.Time) error { return p.Out.SetWriteDeadline(t) }

// SetDeadline implements net.Conn.
func (p *Pair) SetDeadline(t time.Time) error {
	_ = p.Out.SetWriteDeadline(t) // likewise
	return p.In.SetReadDeadline(t)
}

// addresses are those of pipes, which have none.
type addresses struct{}

func (addresses) LocalAddr() net.Addr  { return addr{} }
func (addresses) RemoteAddr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "pipe" }
func (addr) String() string  { return "pipe" }
