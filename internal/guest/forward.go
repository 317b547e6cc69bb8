//go:build linux

package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"

	"keyway/internal/unixsock"
)

var errTooManyListeners = fmt.Errorf("more than %d listeners on one connection", maxListeners)

// remoteForwards holds the listeners that one connection has requested (ssh -R).
type remoteForwards struct {
	conn *connection

	mu     sync.Mutex
	open   map[string]*remoteForward // keyed by the client's name for each
	closed bool                      // the connection has ended: no more
}

// remoteForward is one forwarding. A TCP one may have a listener for each loopback address.
type remoteForward struct {
	listeners []net.Listener
	cleanup   func()
}

func (f *remoteForward) close() {
	for _, l := range f.listeners {
		l.Close()
	}
	if f.cleanup != nil {
		f.cleanup()
	}
}

func newRemoteForwards(c *connection) *remoteForwards {
	return &remoteForwards{conn: c, open: map[string]*remoteForward{}}
}

func tcpKey(host string, port uint32) string {
	return "tcp " + net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}

func unixKey(path string) string { return "unix " + path }

// add registers f under key and starts to accept for it. If it cannot, it closes f.
func (r *remoteForwards) add(key string, f *remoteForward, kind string, payload func(net.Conn) []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.roomLocked(key)
	if err != nil {
		f.close()
		return err
	}
	r.open[key] = f
	for _, l := range f.listeners {
		r.conn.running.Go(func() { r.accept(l, kind, payload) })
	}
	return nil
}

func (r *remoteForwards) roomLocked(key string) error {
	switch {
	case r.closed:
		return net.ErrClosed
	case r.open[key] != nil:
		return errors.New("listens already")
	case len(r.open) >= maxListeners:
		return errTooManyListeners
	}
	return nil
}

// room returns the error that add would, so that nothing is bound in vain.
func (r *remoteForwards) room(key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.roomLocked(key)
}

func (r *remoteForwards) cancel(key string) error {
	r.mu.Lock()
	f := r.open[key]
	delete(r.open, key)
	r.mu.Unlock()
	if f == nil {
		return errors.New("does not listen")
	}
	f.close()
	return nil
}

func (r *remoteForwards) closeAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, f := range r.open {
		f.close()
	}
	clear(r.open)
}

// accept offers each connection of l to the client.
func (r *remoteForwards) accept(l net.Listener, kind string, payload func(net.Conn) []byte) {
	_ = unixsock.AcceptEach(l, func(conn net.Conn) {
		if !r.conn.enter() {
			conn.Close()
			return
		}
		r.conn.running.Go(func() {
			defer r.conn.channels.Add(-1)
			r.offer(conn.(halfCloser), kind, payload(conn))
		})
	})
}

func (r *remoteForwards) offer(conn halfCloser, kind string, payload []byte) {
	channel, reqs, err := r.conn.ssh.OpenChannel(kind, payload)
	if err != nil {
		conn.Close()
		return
	}
	r.conn.relay(channel, reqs, conn)
}

// listenTCP binds the loopback addresses, whatever address the client names. That is sshd's
// default, too: a container's network may be shared.
func (r *remoteForwards) listenTCP(payload []byte) ([]byte, error) {
	req, err := decode[tcpipForward](payload)
	if err != nil {
		return nil, err
	}
	if req.Port > 65535 {
		return nil, errors.New("no such port")
	}
	if err := r.room(tcpKey(req.Host, req.Port)); err != nil {
		return nil, err
	}
	f, port, err := listenLoopback(req)
	if err != nil {
		return nil, err
	}
	// The client identifies its forwarding by the address as it sent it.
	err = r.add(tcpKey(req.Host, port), f, "forwarded-tcpip", func(conn net.Conn) []byte {
		return ssh.Marshal(forwardedTCP(req.Host, port, conn.RemoteAddr()))
	})
	if err != nil || req.Port != 0 {
		return nil, err
	}
	return ssh.Marshal(tcpipForwardReply{Port: port}), nil
}

func forwardedTCP(host string, port uint32, origin net.Addr) tcpipChannel {
	msg := tcpipChannel{Host: host, Port: port, OriginHost: "127.0.0.1"}
	if a, ok := origin.(*net.TCPAddr); ok {
		msg.OriginHost, msg.OriginPort = a.IP.String(), uint32(a.Port)
	}
	return msg
}

// listenLoopback binds one port on 127.0.0.1 and ::1. One of the two is enough: many
// containers have no IPv6. If the client names one family, only that one is bound.
func listenLoopback(req tcpipForward) (*remoteForward, uint32, error) {
	addresses := []string{"127.0.0.1", "::1"}
	if ip := net.ParseIP(req.Host); ip != nil && ip.IsLoopback() {
		addresses = []string{req.Host}
	}
	f := &remoteForward{}
	port := int(req.Port)
	var firstErr error
	for _, a := range addresses {
		l, err := net.Listen("tcp", net.JoinHostPort(a, strconv.Itoa(port)))
		if err != nil {
			if firstErr == nil {
				firstErr = err
			}
			continue
		}
		port = l.Addr().(*net.TCPAddr).Port
		f.listeners = append(f.listeners, l)
	}
	if len(f.listeners) == 0 {
		return nil, 0, firstErr
	}
	return f, uint32(port), nil
}

func (r *remoteForwards) cancelTCP(payload []byte) error {
	req, err := decode[tcpipForward](payload)
	if err != nil {
		return err
	}
	return r.cancel(tcpKey(req.Host, req.Port))
}

func (r *remoteForwards) listenUnix(payload []byte) error {
	req, err := decode[streamlocalForward](payload)
	if err != nil {
		return err
	}
	if err := r.room(unixKey(req.Path)); err != nil {
		return err
	}
	f, err := listenSocketFile(r.conn.absolute(req.Path))
	if err != nil {
		return err
	}
	return r.add(unixKey(req.Path), f, "forwarded-streamlocal@openssh.com", func(net.Conn) []byte {
		return ssh.Marshal(forwardedStreamlocal{Path: req.Path})
	})
}

func (r *remoteForwards) cancelUnix(payload []byte) error {
	req, err := decode[streamlocalForward](payload)
	if err != nil {
		return err
	}
	return r.cancel(unixKey(req.Path))
}

// listenSocketFile binds path. It replaces a socket whose owner is dead, so that a client
// that lost its connection can come back. It replaces nothing else.
func listenSocketFile(path string) (*remoteForward, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s exists and is not a socket", path)
	}
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		return nil, err
	}
	bound, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, err
	}
	return &remoteForward{listeners: []net.Listener{l}, cleanup: func() { removeIfSame(path, bound) }}, nil
}

// removeIfSame removes path unless a successor has bound it since.
func removeIfSame(path string, bound fs.FileInfo) {
	if now, err := os.Lstat(path); err == nil && os.SameFile(now, bound) {
		_ = os.Remove(path)
	}
}
