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

// firstTimeout is how long a connection may be silent before it is taken for
// SSH: some clients, ssh-keyscan among them, let the server speak first.
const firstTimeout = 2 * time.Second

// overStream stands in the lobby for whoever comes over a stream: no uid.
const overStream = -1

var errCrowded = errors.New("too many were logging in at once")

// receive serves one connection to the guest's socket: its first byte tells a
// stream from SSH. A stream that it begins, or has begun, does not end with it.
func (s *Server) receive(ctx context.Context, conn net.Conn) {
	uid, _ := peerOf(conn) // whether it may connect was decided before
	place := s.strangers.Enter(int(uid), func() { conn.Close() })
	defer place.Leave()
	if s.streams == nil || firstByte(conn) != stream.Magic[0] {
		s.serveConn(ctx, conn, place, func() error { return nil })
		return
	}
	place.Leave() // for one among the streams' own strangers
	// Not with ctx, which would cut the streams' last words off: the server of
	// streams is closed when ctx ends, and that ends them all. Handle logs why.
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

// firstByte is the first byte of what conn will read, without taking it: 0 when
// none comes in time or the connection has ended.
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

// streamLog is the guest's log as streams write it.
type streamLog struct{ *logger }

func (streamLog) Debug(string, ...any)            {}
func (l streamLog) Info(msg string, pairs ...any) { l.info(msg, pairs...) }
func (l streamLog) Warn(msg string, pairs ...any) { l.warn(msg, pairs...) }
