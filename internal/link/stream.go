package link

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/stream"
)

const (
	// streamProtocol is what a command upgrades its connection to the link to: from
	// the answer on, the connection is the byte stream to the guest, and may be
	// handed to an ssh.
	streamProtocol = "keyway-stream"
	// headerHostKey is the host key of the guest, as in known_hosts: who has to sign
	// for a stream. Without one there is no stream, only a pipe.
	headerHostKey = "Keyway-Host-Key"
	// headerTerminal says that the descriptor of the ssh's terminal follows the
	// answer, for news.
	headerTerminal = "Keyway-Terminal"
)

// switching is the answer to an upgrade. It is written by hand, because nothing
// may be read ahead of what follows it.
const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + streamProtocol + "\r\n\r\n"

// carried is one ssh connection that the link carries.
type carried struct {
	way    *way
	name   keyway.Name
	since  time.Time
	ssh    net.Conn // to the user's ssh
	screen screen   // its terminal; may be nil
	said   []byte   // what the ssh said before the guest had answered, to be said again to a plain one

	guest    atomic.Pointer[stream.Conn] // nil: a plain pipe
	up, down atomic.Int64                // bytes of a plain pipe
}

// stream joins the command's connection to a guest. It is taken over before the
// guest has answered: what goes wrong then is said by sayGoodbye.
func (l *Link) stream(w http.ResponseWriter, r *http.Request) {
	c, err := l.newCarried(r)
	if err == nil {
		_, err = c.way.node(r.Context(), nil, nil)
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	hostKey := parseHostKey(r.Header.Get(headerHostKey))
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, switching); err != nil {
		return
	}
	if r.Header.Get(headerTerminal) != "" {
		if c.screen, err = receiveTerminal(conn); err != nil {
			return
		}
	}
	if c.screen != nil {
		defer c.screen.close()
	}
	l.ended.Add(1)
	defer l.ended.Done()
	c.ssh = conn
	// The request's own context may have ended already: with an ssh that has sent
	// all it has to say.
	l.carry(l.ctx, c, hostKey)
}

func (l *Link) newCarried(r *http.Request) (*carried, error) {
	way, err := l.way(r.PathValue("place"))
	if err != nil {
		return nil, err
	}
	name, err := keyway.ParseName(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	if r.Header.Get("Upgrade") != streamProtocol {
		return nil, keyway.Errorf(keyway.VersionMismatch, "a stream begins with Upgrade: %s", streamProtocol)
	}
	return &carried{way: way, name: name, since: time.Now()}, nil
}

// carry copies between the ssh and the guest until one of them ends.
func (l *Link) carry(ctx context.Context, c *carried, hostKey []byte) {
	l.enter(c)
	defer l.leave(c)
	err := errPlain
	if hostKey != nil {
		err = c.overStream(ctx, l.streamConfig(c, hostKey))
	}
	if errors.Is(err, errPlain) {
		err = c.overPipe(ctx)
	}
	if err == nil {
		return
	}
	err = c.inWords(err)
	l.cfg.Log.Info("connection ended", "workspace", c.name, "place", c.way.place, "error", err)
	if c.status().Down == 0 {
		sayGoodbye(c.ssh, err)
		return
	}
	// In the middle of a connection ssh would take no word of ours.
	if e := keyway.AsError(err); ctx.Err() == nil {
		say(c.screen, strings.TrimRight(e.Message+"\n"+e.Next, "\n"))
	}
}

func (l *Link) enter(c *carried) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lives[c] = struct{}{}
}

func (l *Link) leave(c *carried) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lives, c)
}

// streamConfig is how c's stream finds its guest, now and whenever it has lost
// the way.
func (l *Link) streamConfig(c *carried, hostKey []byte) stream.Config {
	d := &dialer{way: c.way, name: c.name, begun: c.since, opened: c.opened}
	return stream.Config{
		Dial: d.Dial, HostKey: hostKey, Budget: l.budget, Watcher: l.watcher,
		Linger: farewell, Logger: l.cfg.Log,
	}
}

func (c *carried) opened() bool {
	guest := c.guest.Load()
	return guest != nil && guest.Status().Opened
}

// farewell is how long a guest that cannot be reached is tried to be told that
// its ssh has ended.
const farewell = 10 * time.Minute

// overStream carries the connection over a resumable stream. The error is why
// there is no more of it: nil when guest or ssh has ended it.
func (c *carried) overStream(ctx context.Context, cfg stream.Config) error {
	guest, err := stream.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	c.guest.Store(guest)
	listening, deaf := context.WithCancel(ctx) // ends with the ssh
	var beside sync.WaitGroup
	beside.Go(func() {
		defer deaf()
		c.upload(guest, deaf)
	})
	if c.screen != nil {
		beside.Go(func() { c.watchStalls(listening, guest) })
	}
	_, err = guest.WriteTo(c.ssh)
	if reason := guest.Err(); reason != nil {
		err = reason
	} else if err != nil {
		err = nil // the ssh takes no more
	} else if c.status().Down == 0 {
		err = errSilentGuest
	}
	c.ssh.SetReadDeadline(time.Unix(1, 0)) // ends upload, without closing: the ssh may be told why
	beside.Wait()
	guest.Close()
	if errors.Is(err, errPlain) {
		c.guest.Store(nil)
		err = c.ssh.SetReadDeadline(time.Time{})
		if err == nil {
			err = errPlain
		}
	}
	return err
}

var errSilentGuest = keyway.Errorf(keyway.GuestFailed, "the workspace's guest closed the connection at once")

// maxSaid bounds in bytes what is kept to be said again: an ssh says less than
// 4 KiB before its server has spoken.
const maxSaid = 64 << 10

// upload copies from the ssh to the guest. When the ssh has ended, so must the
// guest soon.
func (c *carried) upload(guest *stream.Conn, ended func()) {
	keep := true
	err := api.Copy(guest, readerFunc(func(p []byte) (int, error) {
		n, err := c.ssh.Read(p)
		if keep = keep && !guest.Status().Opened && len(c.said)+n <= maxSaid; keep {
			c.said = append(c.said, p[:n]...)
		}
		return n, err
	}))
	if err != nil {
		return // guest or ssh does not take part any more; the other direction says which
	}
	ended()
	guest.CloseWrite()
	patience := time.NewTimer(farewell)
	defer patience.Stop()
	select {
	case <-guest.Done():
	case <-patience.C:
		guest.CloseWithError(errors.New("its ssh has ended"))
	}
}

// readerFunc is a Read.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// overPipe carries the connection to a guest that knows no streams; it ends with
// the way.
func (c *carried) overPipe(ctx context.Context) error {
	node, err := c.way.node(ctx, nil, nil)
	if err != nil {
		return err
	}
	guest, err := node.Dial(ctx, c.name)
	if err != nil {
		return err
	}
	if _, err := guest.Write(c.said); err != nil {
		guest.Close()
		return err
	}
	c.up.Store(int64(len(c.said)))
	watched := &firstError{Conn: guest, count: &c.down}
	api.Relay(watched, pipeEnd{c.ssh, &c.up}, c.ssh)
	return watched.err
}

// pipeEnd reads from the ssh, and counts.
type pipeEnd struct {
	net.Conn
	count *atomic.Int64
}

func (p pipeEnd) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.count.Add(int64(n))
	return n, err
}

// Close ends a Read that waits, without closing: the ssh is still to be told
// goodbye.
func (p pipeEnd) Close() error { return p.SetReadDeadline(time.Unix(1, 0)) }

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
			f.err = errSilentGuest
		}
	}
	return n, err
}

func (f *firstError) CloseWrite() error { return api.CloseWrite(f.Conn) }
