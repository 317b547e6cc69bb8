package link

import (
	"context"
	"net"
	"net/http"
	"os"
	"time"

	"keyway/internal/keyway"
)

// endsProtocol is streamProtocol, but the bytes flow through the two descriptors
// that follow the answer, and the connection itself is closed. A link that does not
// know it answers with a VersionMismatch.
const endsProtocol = "keyway-stream-ends"

// Proxy is Stream, but the link takes over the two pipes between an ssh and its proxy
// command: it reads from in and writes to out itself for as long as the stream lives,
// so that the proxy command can end and no process copies the bytes. Proxy returns when
// the link has both.
func (c *Client) Proxy(ctx context.Context, place keyway.Place, name keyway.Name, hostKey string, terminal, in, out *os.File) error {
	conn, err := c.upgrade(ctx, endsProtocol, place, name, hostKey, terminal)
	if err != nil {
		return err
	}
	defer conn.Close()
	return passEnds(conn, in, out)
}

// pipes is the connection to an ssh that two pipes make.
type pipes struct {
	in, out *os.File
}

func (p *pipes) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p *pipes) Write(b []byte) (int, error) { return p.out.Write(b) }
func (p *pipes) CloseWrite() error           { return p.out.Close() }

func (p *pipes) Close() error {
	_ = p.out.Close() // CloseWrite may have been first
	return p.in.Close()
}

func (p *pipes) SetReadDeadline(t time.Time) error  { return p.in.SetReadDeadline(t) }
func (p *pipes) SetWriteDeadline(t time.Time) error { return p.out.SetWriteDeadline(t) }

func (p *pipes) SetDeadline(t time.Time) error {
	_ = p.out.SetWriteDeadline(t) // likewise
	return p.in.SetReadDeadline(t)
}

func (p *pipes) LocalAddr() net.Addr  { return pipeAddr{} }
func (p *pipes) RemoteAddr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// wantsEnds reports whether r asks for endsProtocol.
func wantsEnds(r *http.Request) bool { return r.Header.Get("Upgrade") == endsProtocol }
