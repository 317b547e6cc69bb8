//go:build linux

package guest

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/stream"
)

// firstTimeout is the time after which a silent connection is taken for SSH: some clients,
// such as ssh-keyscan, wait for the server to speak first.
const firstTimeout = 2 * time.Second

// overStream stands in the lobby for a client that comes over a stream and has no uid.
const overStream = -1

var errCrowded = errors.New("too many were logging in at once")

// receive serves one connection to the guest's socket. The first byte tells a stream from
// SSH. A stream that the connection begins or continues does not end with it.
func (s *Server) receive(ctx context.Context, conn net.Conn) {
	uid, _ := peerOf(conn) // the listener has decided already whether it may connect
	place := s.strangers.Enter(int(uid), func() { conn.Close() })
	defer place.Leave()
	if s.streams == nil || firstByte(conn) != stream.Magic[0] {
		s.serveConn(ctx, conn, place, func() error { return nil })
		return
	}
	place.Leave() // the streams count their own strangers
	// Not with ctx, which would cut off the last bytes of streams: when ctx ends, the
	// server of streams is closed, and that ends them all. Handle logs the reason.
	_ = s.streams.Handle(context.WithoutCancel(ctx), conn)
}

// acceptStreams serves every stream that a client opens, until ctx ends.
func (s *Server) acceptStreams(ctx context.Context, all *sync.WaitGroup) {
	if s.streams == nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { s.streams.Close() })
	defer stop()
	for {
		conn, err := s.streams.Accept()
		if err != nil {
			return
		}
		all.Go(func() {
			place := s.strangers.Enter(overStream, func() { _ = conn.CloseWithError(errCrowded) })
			defer place.Leave()
			s.serveConn(ctx, conn, place, conn.Vouch)
		})
	}
}

// firstByte returns the first byte that conn will read, without taking it. It is 0 if none
// comes in time or the connection has ended.
func firstByte(conn net.Conn) byte {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = conn.SetReadDeadline(time.Now().Add(firstTimeout))
	defer conn.SetReadDeadline(time.Time{})
	var first [1]byte
	err = raw.Read(func(fd uintptr) bool {
		_, _, err = unix.Recvfrom(int(fd), first[:], unix.MSG_PEEK)
		return !errors.Is(err, unix.EAGAIN)
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0
	}
	return first[0]
}

// streamLog adapts the guest's log to streams.
type streamLog struct{ *logger }

func (streamLog) Debug(string, ...any)            {}
func (l streamLog) Info(msg string, pairs ...any) { l.info(msg, pairs...) }
func (l streamLog) Warn(msg string, pairs ...any) { l.warn(msg, pairs...) }
