package link

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// streamProtocol is what a command upgrades its connection to the link to: from
// the answer on, the connection is the byte stream to the guest, and may be
// handed to an ssh.
const streamProtocol = "keyway-stream"

// stream joins the command's connection to a guest. It is taken over before the
// guest has answered: what goes wrong then is said by sayGoodbye.
func (l *Link) stream(w http.ResponseWriter, r *http.Request) {
	way, err := l.way(r.PathValue("place"))
	var name keyway.Name
	if err == nil {
		name, err = keyway.ParseName(r.PathValue("name"))
	}
	if err == nil && r.Header.Get("Upgrade") != streamProtocol {
		err = keyway.Errorf(keyway.VersionMismatch, "a stream begins with Upgrade: %s", streamProtocol)
	}
	if err == nil {
		_, err = way.node(r.Context(), nil, nil)
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", streamProtocol)
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, rest, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	l.ended.Add(1)
	defer l.ended.Done()
	// The request's own context may have ended already: with an ssh that has sent
	// all it has to say. A stream ends with the way.
	ctx := context.WithoutCancel(r.Context())
	l.carry(ctx, conn, rest.Reader, plain{way}, &stream{place: way.place, name: name, since: time.Now()})
}

// carry copies between the ssh at conn and the guest until one of them ends.
func (l *Link) carry(ctx context.Context, conn net.Conn, early *bufio.Reader, d Dialer, s *stream) {
	defer conn.Close()
	guest, err := d.Dial(ctx, s.name)
	if err != nil {
		sayGoodbye(conn, err)
		return
	}
	l.mu.Lock()
	l.lives[s] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.lives, s)
		l.mu.Unlock()
	}()
	watched := &firstError{Conn: guest, count: &s.down}
	api.Relay(watched, hijacked{early, conn, &s.up}, conn)
	if watched.err != nil {
		sayGoodbye(conn, watched.err)
	}
}

// hijacked reads what the HTTP server had read ahead, then the connection.
type hijacked struct {
	io.Reader
	conn  net.Conn
	count *atomic.Int64
}

func (h hijacked) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	h.count.Add(int64(n))
	return n, err
}

// Close ends a Read that waits, without closing: the ssh is still to be told
// goodbye.
func (h hijacked) Close() error { return h.conn.SetReadDeadline(time.Unix(1, 0)) }

// firstError keeps the error of a guest that ended before its first byte.
type firstError struct {
	net.Conn
	count *atomic.Int64
	err   error
}

func (f *firstError) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if f.count.Add(int64(n)) == 0 && err != nil {
		f.err = err
		if errors.Is(err, io.EOF) {
			f.err = keyway.Errorf(keyway.GuestFailed, "the workspace's guest closed the connection at once")
		}
	}
	return n, err
}

func (f *firstError) CloseWrite() error { return api.CloseWrite(f.Conn) }
