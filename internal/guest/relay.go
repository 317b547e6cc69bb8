//go:build linux

package guest

import (
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// copySize is what one read takes. It is the largest payload of one SSH packet
// (channelMaxPacket in x/crypto and in OpenSSH), so that each read is one packet.
const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// copyPooled copies until src ends. Unlike io.Copy it never lets dst or src
// choose its own way, all of which allocate a buffer per call or drop the pool.
func copyPooled(dst io.Writer, src io.Reader) error {
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := src.Read(buf[:])
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// halfCloser is a connection that can end its sending side alone.
type halfCloser interface {
	io.ReadWriteCloser
	CloseWrite() error
	SetWriteDeadline(time.Time) error
}

// lastWords is how long a connection may take to read what was sent to it before
// its channel was closed.
const lastWords = time.Minute

// relay copies between an SSH channel and a connection until both directions
// have ended or the channel is closed as a whole, then closes both. A direction
// that cannot write any more leaves the other to run dry: the answer to a
// request may still be on its way when its sender stops reading.
func (c *connection) relay(ch ssh.Channel, reqs <-chan *ssh.Request, conn halfCloser) {
	var work sync.WaitGroup
	outbound := make(chan struct{})
	work.Go(func() {
		defer close(outbound)
		copyHalf(promptHalf{prompt{ch, c.out, nil}, ch}, conn)
	})
	inbound := make(chan struct{})
	work.Go(func() {
		defer close(inbound)
		copyHalf(conn, ch)
	})
	work.Go(func() {
		// The requests end when the channel is closed in both directions. What the
		// channel has received is then still to be written; nothing more is read.
		refuseAll(reqs)
		_ = conn.SetWriteDeadline(time.Now().Add(lastWords))
		<-inbound
		conn.Close()
	})
	<-outbound
	<-inbound
	ch.Close()
	conn.Close()
	work.Wait()
}

// promptHalf is a channel that is written to promptly.
type promptHalf struct {
	prompt
	ch ssh.Channel
}

// CloseWrite ends the channel's sending side.
func (p promptHalf) CloseWrite() error { return p.ch.CloseWrite() }

func copyHalf(dst interface {
	io.Writer
	CloseWrite() error
}, src io.Reader,
) {
	// The error is the peer's: there is nobody left to tell it to.
	_ = copyPooled(dst, src)
	_ = dst.CloseWrite()
}

// refuseAll answers no to every request until the channel or connection they
// come from has ended.
func refuseAll(reqs <-chan *ssh.Request) {
	for req := range reqs {
		_ = req.Reply(false, nil)
	}
}
