//go:build linux

package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/mux/near"
	"keyway/internal/mux/socks"
	"keyway/internal/plain"
	"keyway/internal/unixsock"
)

const (
	// maxForwards bounds the forwards of one workspace.
	maxForwards = 256
	// dialTime bounds the time for a target to answer.
	dialTime = 2 * time.Minute
)

var (
	errForwarded  = errors.New("it is forwarded already")
	errForwards   = fmt.Errorf("there are %d forwards already", maxForwards)
	errNotForward = errors.New("it is not forwarded")
)

// forward is a forward that a client has requested (ssh -L, -R and -D).
type forward struct {
	asked     forwardRequest
	port      uint32 // the guest's port
	guest     *guest
	listeners []net.Listener

	mu    sync.Mutex
	ended bool
	conns map[net.Conn]struct{}

	saying sync.Mutex
	errs   io.Writer // the client's standard error; nil: nothing is printed there
	first  int       // the number that ssh itself would give to the first connection's channel
}

// openForward starts a forward.
func (g *guest) openForward(asked forwardRequest) (*forward, error) {
	f := &forward{asked: asked, port: asked.listen.port, guest: g, conns: map[net.Conn]struct{}{}}
	g.mu.Lock()
	var err error
	switch {
	case g.leaving:
		err = net.ErrClosed
	case g.forwards[asked] != nil:
		err = errForwarded
	case len(g.forwards) >= maxForwards:
		err = errForwards
	default:
		g.forwards[asked] = f
	}
	g.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if asked.kind == forwardRemote {
		err = f.askGuest()
	} else {
		f.listeners, err = f.listen()
	}
	if err != nil {
		g.forget(f)
		return nil, err
	}
	for _, l := range f.listeners {
		g.work.Go(func() { f.accept(l) })
	}
	return f, nil
}

func (g *guest) forget(f *forward) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.forwards[f.asked] == f {
		delete(g.forwards, f.asked)
	}
}

// closeForward ends the forward of that request.
func (g *guest) closeForward(asked forwardRequest) error {
	g.mu.Lock()
	f := g.forwards[asked]
	g.mu.Unlock()
	if f == nil {
		return errNotForward
	}
	f.close(false)
	return nil
}

// close accepts no more connections. Existing ones continue or, if cut is set, are cut, as by an
// ssh that is killed.
func (f *forward) close(cut bool) {
	f.guest.forget(f)
	f.mu.Lock()
	first := !f.ended
	f.ended = true
	if cut {
		for conn := range f.conns {
			conn.Close()
		}
	}
	f.mu.Unlock()
	for _, l := range f.listeners {
		l.Close()
	}
	if first && f.asked.kind == forwardRemote {
		name, payload := f.remote("cancel-", f.port)
		_, _, _ = f.guest.ssh.SendRequest(name, false, payload)
	}
}

// remote returns a request about a listener at the guest (RFC 4254, section 7.1, and OpenSSH's
// PROTOCOL, section 2.4).
func (f *forward) remote(verb string, port uint32) (name string, payload []byte) {
	if f.asked.listen.port == onPath {
		return verb + "streamlocal-forward@openssh.com", ssh.Marshal(struct{ Path string }{f.asked.listen.host})
	}
	return verb + "tcpip-forward", ssh.Marshal(struct {
		Host string
		Port uint32
	}{f.remoteHost(), port})
}

// remoteHost returns the address of a listener at the guest in the form of the request.
func (f *forward) remoteHost() string {
	switch f.asked.listen.host {
	case "":
		return "localhost"
	case "*":
		return ""
	}
	return f.asked.listen.host
}

func (f *forward) askGuest() error {
	name, payload := f.remote("", f.asked.listen.port)
	ok, reply, err := f.guest.ssh.SendRequest(name, true, payload)
	switch {
	case err != nil:
		return err
	case !ok:
		return errRefused
	case f.port == 0 && len(reply) != 4:
		return errMalformed
	case f.port == 0:
		f.mu.Lock()
		f.port = binary.BigEndian.Uint32(reply)
		f.mu.Unlock()
	}
	return nil
}

// allocated returns ssh's message about a port that the guest has chosen. ssh does not print it for
// a forward of a mux.
func (f *forward) allocated() string {
	to := fmt.Sprintf("%s:%d", f.asked.connect.host, f.asked.connect.port) // without brackets
	if f.asked.connect.port == onPath {
		to = f.asked.connect.host
	}
	return fmt.Sprintf("Allocated port %d for remote forward to %s\r\n", f.port, to)
}

// listen listens as ssh does.
func (f *forward) listen() ([]net.Listener, error) {
	if at := f.asked.listen; at.port != onPath {
		return near.Listen(at.host, at.port)
	}
	return near.ListenAt(f.asked.listen.host)
}

// tell has f print, from now on, ssh's own messages about its connections to a client's standard
// error. When it returns, nothing is being printed to an earlier one.
func (f *forward) tell(errs io.Writer, first int) {
	f.saying.Lock()
	defer f.saying.Unlock()
	f.errs, f.first = errs, first
}

// say prints a line, which has nothing in it that a terminal obeys.
func (f *forward) say(line string) {
	f.saying.Lock()
	defer f.saying.Unlock()
	if f.errs != nil {
		_, _ = io.WriteString(f.errs, line+"\r\n")
	}
}

// sayRefused prints why the guest has not opened a channel for a connection that has entered.
func (f *forward) sayRefused(err error) {
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) {
		return
	}
	f.mu.Lock()
	others := len(f.conns) - 1
	f.mu.Unlock()
	f.saying.Lock()
	number := f.first + others
	f.saying.Unlock()
	f.say(fmt.Sprintf("channel %d: open failed: %s: %s", number, refused.Reason, plain.Line(refused.Message)))
}

// enter registers a connection. It reports false if the forward has ended.
func (f *forward) enter(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return false
	}
	f.conns[conn] = struct{}{}
	return true
}

func (f *forward) leave(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, conn)
}

// accept serves each connection of a local listener.
func (f *forward) accept(l net.Listener) {
	_ = unixsock.AcceptEach(l, func(conn net.Conn) {
		f.guest.work.Go(func() {
			defer conn.Close()
			if f.enter(conn) {
				defer f.leave(conn)
				f.carry(conn)
			}
		})
	})
}

func (f *forward) carry(conn net.Conn) {
	to := f.asked.connect
	var granted []byte
	if f.asked.kind == forwardDynamic {
		var err error
		if to, granted, err = readTarget(conn); err != nil {
			return
		}
	}
	channel, requests, err := f.guest.direct(to, conn.RemoteAddr())
	if err != nil {
		f.sayRefused(err)
		return
	}
	_, _ = conn.Write(granted) // a client that has gone is noticed below
	f.guest.relay(conn, channel, requests)
}

// direct opens a channel to a target of the guest.
func (g *guest) direct(to target, from net.Addr) (ssh.Channel, <-chan *ssh.Request, error) {
	if to.port == onPath {
		return g.ssh.OpenChannel("direct-streamlocal@openssh.com", ssh.Marshal(struct {
			Path, Reserved string
			Number         uint32
		}{to.host, "", 0}))
	}
	origin, number := "127.0.0.1", 65535 // ssh sends these for a source without an address
	if a, ok := from.(*net.TCPAddr); ok {
		origin, number = a.IP.String(), a.Port
	}
	return g.ssh.OpenChannel("direct-tcpip", ssh.Marshal(struct {
		Host   string
		Port   uint32
		Origin string
		Number uint32
	}{to.host, to.port, origin, uint32(number)}))
}

// forwarded serves a channel that the guest opens for a forward.
func (g *guest) forwarded(offered ssh.NewChannel, is func(*forward) bool) {
	g.mu.Lock()
	var found *forward
	for _, f := range g.forwards {
		if f.asked.kind == forwardRemote && is(f) {
			found = f
		}
	}
	g.mu.Unlock()
	if found == nil {
		_ = offered.Reject(ssh.Prohibited, "that is not forwarded")
		return
	}
	found.receive(offered)
}

// isAt reports whether the guest listens at that address for f.
func (f *forward) isAt(host string, port uint32) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked.listen.port != onPath && f.remoteHost() == host && f.port == port
}

// receive connects a channel of the guest to the target or, if there is none (ssh -R PORT), to the
// target that a SOCKS client names.
func (f *forward) receive(offered ssh.NewChannel) {
	to := f.asked.connect
	if to.port == 0 {
		f.receiveDynamic(offered)
		return
	}
	conn, err := f.dial(to)
	if err != nil {
		_ = offered.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer conn.Close()
	if !f.enter(conn) {
		_ = offered.Reject(ssh.Prohibited, "that is not forwarded")
		return
	}
	defer f.leave(conn)
	if channel, requests, err := offered.Accept(); err == nil {
		f.guest.relay(conn, channel, requests)
	}
}

func (f *forward) receiveDynamic(offered ssh.NewChannel) {
	channel, requests, err := offered.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	to, granted, err := readTarget(channel)
	if err != nil {
		return
	}
	conn, err := f.dial(to)
	if err != nil {
		return
	}
	defer conn.Close()
	if f.enter(conn) {
		defer f.leave(conn)
		_, _ = channel.Write(granted)
		f.guest.relay(conn, channel, requests)
	}
}

// dial connects to a target of the laptop. A failure is told as ssh itself tells it.
func (f *forward) dial(to target) (net.Conn, error) {
	network, address := "tcp", net.JoinHostPort(to.host, strconv.FormatUint(uint64(to.port), 10))
	if to.port == onPath {
		network, address = "unix", to.host
	}
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(f.guest.open, network, address)
	if err != nil {
		f.say(near.Unreached(plain.Line(to.host), to.port, to.port == onPath, err))
	}
	return conn, err
}

// readTarget reads the target that a client of a dynamic forward requests, and returns the answer
// to a client whose target has been reached.
func readTarget(conn io.ReadWriter) (target, []byte, error) {
	to, granted, err := socks.Read(conn)
	return target{to.Host, to.Port}, granted, err
}
