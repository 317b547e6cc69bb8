package pipe

import (
	"errors"
	"io"
	"sync"
)

// Halver is a connection whose sending side can be ended alone.
type Halver interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// CloseWrite tells the other end of conn that no more will come. A connection without
// half-close is closed.
func CloseWrite(conn io.Closer) error {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return conn.Close()
}

// Relay copies both ways between conn and channel until both directions have ended,
// then closes both, and returns when its goroutines have ended. The end of a direction
// is passed on as a half-close. A direction that cannot write any more leaves the other
// to run dry: the answer to a request may still be on its way when its sender stops
// reading.
//
// A channel is closed as a whole by a protocol around it, which closed waits for. What
// the channel has received by then is still written; after that conn is closed. closed
// must return once channel is closed, and may bound by a deadline on conn how long the
// rest takes.
func (s *Buffers) Relay(conn, channel Halver, closed func()) {
	var in, out, end sync.WaitGroup
	out.Go(func() { s.half(channel, conn) })
	in.Go(func() { s.half(conn, channel) })
	end.Go(func() {
		closed()
		in.Wait()
		conn.Close()
	})
	out.Wait()
	in.Wait()
	channel.Close()
	conn.Close()
	end.Wait()
}

// half copies one direction. Its error is the peer's: no caller is left to report it to.
func (s *Buffers) half(dst Halver, src io.Reader) {
	_ = s.Copy(dst, src)
	_ = dst.CloseWrite()
}

// Carry copies in to conn and conn to out until conn's side has ended, then closes conn
// and in, and returns when both copies have. The end of in is passed on as a half-close;
// if in breaks, conn is closed, so that its other end waits for no more.
func (s *Buffers) Carry(conn io.ReadWriteCloser, in io.ReadCloser, out io.Writer) {
	var up sync.WaitGroup
	up.Go(func() {
		var write *writeError
		switch err := s.Copy(conn, in); {
		case err == nil:
			_ = CloseWrite(conn)
		case !errors.As(err, &write):
			conn.Close()
		}
		// A side that accepts no more bytes may still answer. The end of its answer ends the relay.
	})
	_ = s.Copy(out, conn)
	conn.Close()
	in.Close()
	up.Wait()
}

// Stdio copies between conn and a process's standard input and output until conn's other end has
// sent everything, within the kernel where possible (splice). The goroutine that reads in is left
// behind: a read from a file that another process holds open cannot be interrupted, and ends with
// the process.
func Stdio(conn Halver, in io.Reader, out io.Writer) error {
	go func() {
		_, _ = io.Copy(conn, in)
		_ = conn.CloseWrite()
	}()
	_, err := io.Copy(out, conn)
	return err
}
