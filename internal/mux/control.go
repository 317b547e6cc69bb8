//go:build linux

package mux

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"golang.org/x/sys/unix"

	"keyway/internal/mux/call"
	"keyway/internal/mux/stdio"
	"keyway/internal/plain"
	"keyway/internal/proctree"
	"keyway/internal/unixsock"
)

const (
	// greetTime bounds the time that a client may take to greet and to send its first request.
	greetTime = 30 * time.Second
	// allowedFor is the time for which the agent's permission for a session holds. After that, the
	// agent is asked again, because the key may have been locked meanwhile.
	allowedFor = time.Second
	// sessionNumber is the number of the only session of a control connection.
	sessionNumber = 1
)

// control is the connection of one ssh to a control socket.
type control struct {
	conn  *net.UnixConn
	pid   int
	asked time.Time // when the agent allowed it a session; zero: it has not
	done  bool      // it has had its session, or asked to end the connection
	w     *workspace
	in    call.Call

	screen   Screen     // for news; may be nil
	forwards []*forward // that end with the client
	news     string     // the messages that ssh itself would print about its forwards
}

// serve serves one client. If the client's command line asks for something that would have another
// effect here, serve returns before the greeting. The ssh then prints a line and connects by
// itself.
func (c *control) serve() error {
	defer c.conn.Close()
	cred, err := unixsock.Peer(c.conn)
	if err != nil {
		return err
	}
	if int(cred.Uid) != os.Getuid() || cred.Pid <= 0 {
		return fmt.Errorf("user %d is another", cred.Uid)
	}
	c.pid = int(cred.Pid)
	args, err := proctree.CommandLine(c.pid)
	if err != nil {
		return err
	}
	in, err := call.Parse(args)
	if err == nil && in.Agent != "" && in.Agent != c.w.guest.permit.socket {
		err = errors.New("called with another agent")
	}
	if err == nil && in.User != "" && in.User != c.w.guest.permit.user {
		err = errors.New("called for another user")
	}
	// After a signal, an ssh without a session exits with 255 if it shares a connection, and with 0 if
	// it has one of its own. A service or a script may heed that; a person sees the line with which a
	// refused ssh begins.
	if err == nil && in.Idle && !proctree.ErrorsOnTerminal(c.pid) {
		err = errors.New("called for no session, and not on a terminal")
	}
	if err == nil && !in.Control && (c.w.news.isStalled() || hungUp(c.w.guest.wire.Conn)) {
		err = errSilent
	}
	if why := proctree.Apart(c.pid); err == nil && !in.Control && why != "" {
		err = errors.New("called " + why)
	}
	if err == nil && !in.Control {
		err = c.allow()
	}
	if err != nil {
		return err
	}
	c.in = in
	_ = c.conn.SetDeadline(time.Now().Add(greetTime))
	if err := c.greet(); err != nil {
		return err
	}
	defer c.endForwards(true)
	return c.converse()
}

// allow asks whether the connection still suits the workspace, and the agent whether the client may
// have a session. It does not ask the agent again within allowedFor.
func (c *control) allow() error {
	if err := c.w.suits(); err != nil {
		return err
	}
	now := time.Now()
	if passed(now.Sub(c.asked), now.Round(0).Sub(c.asked.Round(0))) < allowedFor {
		return nil
	}
	err := c.w.guest.permit.allow(c.pid)
	if err == nil {
		c.asked = time.Now()
	}
	return err
}

// passed returns the time that has passed by the clock that shows more. The monotonic clock stands
// still while the machine sleeps, and the wall clock may be set in either direction.
func passed(monotonic, wall time.Duration) time.Duration { return max(monotonic, wall.Abs()) }

// converse answers the client's requests until the client closes the connection.
func (c *control) converse() error {
	for !c.done {
		body, err := readMessage(c.conn)
		if err != nil {
			return nil // it has gone
		}
		q, err := parseRequest(body)
		if err != nil {
			return err
		}
		if err := c.answer(q); err != nil {
			return err
		}
	}
	return nil
}

// endForwards ends the forwards that end with the client, and their connections if cut is set.
func (c *control) endForwards(cut bool) {
	c.tell(nil)
	for _, f := range c.forwards {
		f.close(cut)
	}
	c.forwards = nil
}

// tell has the client's forwards print ssh's own messages to errs. Its channels are those of the
// listeners, then the session's, then those of connections.
func (c *control) tell(errs io.Writer) {
	first := 1
	for _, f := range c.forwards {
		first += len(f.listeners)
	}
	for _, f := range c.forwards {
		f.tell(errs, first)
	}
}

func (c *control) greet() error {
	if _, err := c.conn.Write(message("", msgHello, protocolVersion)); err != nil {
		return err
	}
	body, err := readMessage(c.conn)
	if err != nil {
		return err
	}
	return parseHello(body)
}

// answer carries out one request. The agent has allowed nothing to a client that came to control
// (ssh -O). Such a client gets no session, and the agent decides about each of its forwards.
func (c *control) answer(q request) error {
	switch {
	case q.kind == askAlive:
		return c.say(message("", sayAlive, q.id, uint32(os.Getpid())))
	case q.kind == askOpen:
		return c.openForward(q)
	case q.kind == askClose:
		if err := c.w.guest.closeForward(q.forward); err != nil {
			return c.say(message("port not forwarded", sayFailure, q.id))
		}
		return c.say(message("", sayOK, q.id))
	case (q.kind == askSession || q.kind == askStdio) && !c.in.Control:
		c.done = true
		if q.kind == askSession {
			return c.session(q)
		}
		return c.stdio(q)
	case q.kind == askStop && c.in.Control:
		c.w.retire()
		return c.say(message("", sayOK, q.id))
	case q.kind == askTerminate && c.in.Control:
		c.w.retire()
		c.done = true
		err := c.say(message("", sayOK, q.id))
		c.w.guest.ssh.Close()
		return err
	}
	return c.say(message("keyway's mux does not do that; ssh connects by itself", sayFailure, q.id))
}

// openForward opens a forward that ends with the client. Only ssh -O cancel ends a forward of ssh
// -O forward.
func (c *control) openForward(q request) error {
	if c.in.Control {
		c.asked = time.Time{} // the agent decides about each
	}
	if err := c.allow(); err != nil {
		return c.say(message(err.Error(), sayDenied, q.id))
	}
	f, err := c.w.guest.openForward(q.forward)
	switch {
	case errors.Is(err, errForwarded) && c.in.Control:
	case err != nil:
		return c.say(message(err.Error(), sayFailure, q.id))
	case !c.in.Control:
		c.forwards = append(c.forwards, f)
	}
	if f != nil && q.forward.kind == forwardRemote && q.forward.listen.port == 0 {
		c.news += f.allocated()
		return c.say(message("", sayPort, q.id, f.port))
	}
	return c.say(message("", sayOK, q.id))
}

func (c *control) say(b []byte) error {
	_, err := c.conn.Write(b)
	return err
}

// descriptors receives n descriptors of the client. A refusal is sent only after that, because an
// ssh that cannot send its descriptors ends with an error instead of connecting by itself.
func (c *control) descriptors(n int) ([]int, error) {
	fds := make([]int, n)
	for i := range fds {
		fd, err := receiveDescriptor(c.conn)
		if err != nil {
			closeAll(fds[:i])
			return nil, err
		}
		fds[i] = fd
	}
	return fds, nil
}

// session serves the one session of a client.
func (c *control) session(q request) error {
	fds, err := c.descriptors(3)
	if err != nil {
		return err
	}
	s := &session{
		guest: c.w.guest, ask: q.session, over: func() { c.endForwards(false) },
		in: stdio.New(fds[0], unix.O_RDONLY, c.pid), out: stdio.New(fds[1], unix.O_WRONLY, c.pid), errs: stdio.New(fds[2], unix.O_WRONLY, c.pid),
	}
	defer s.in.Close()
	defer s.out.Close()
	defer s.errs.Close()
	s.farewell = func(why string) { c.farewell(s.errs, why) }
	if err := c.allow(); err != nil {
		return c.say(message(err.Error(), sayDenied, q.id))
	}
	if !c.in.Quiet {
		_, _ = io.WriteString(s.errs, c.news)
		c.tell(s.errs)
		defer func() { s.errs.Stop(); c.tell(nil) }() // before it is closed
	}
	if c.w.server.cfg.Screen != nil {
		if c.screen = c.w.server.cfg.Screen(c.pid, fds[2]); c.screen != nil {
			defer c.screen.Close()
			c.w.news.follow(c.screen)
			defer c.w.news.unfollow(c.screen)
		}
	}
	if c.in.Idle {
		return c.wait(q, s.errs)
	}
	if s.ask.x11 {
		return c.say(message("keyway's mux forwards no display; ssh connects by itself", sayFailure, q.id))
	}
	s.answer = c.w.guest.wait()
	defer c.w.guest.answered(s.answer)
	if s.channel, err = c.w.guest.take(s.answer); errors.Is(err, errSilent) {
		return c.giveUp(q, s)
	} else if err != nil {
		return c.say(message(err.Error(), sayFailure, q.id))
	}
	c.w.guest.enter(s)
	defer c.w.guest.leave(s)
	ended, err := s.begin()
	if errors.Is(err, errSilent) {
		return c.giveUp(q, s)
	} else if err != nil {
		s.channel.Close()
		return c.say(message("the workspace refuses it", sayFailure, q.id))
	}
	if err := c.say(message("", sayOpened, q.id, sessionNumber)); err != nil {
		s.channel.Close()
		return err
	}
	_ = c.conn.SetDeadline(time.Time{})
	s.run(c.conn, ended)
	return nil
}

// giveUp ends a session that the guest does not answer, and its channel. If the session were refused,
// ssh would connect by itself, and wait as long once more.
func (c *control) giveUp(q request, s *session) error {
	err := c.say(message("", sayOpened, q.id, sessionNumber))
	c.farewell(s.errs, c.w.news.noAnswer())
	if s.channel.Channel != nil {
		c.w.guest.work.Go(func() { s.channel.Close() }) // the connection may take nothing now
	}
	return errors.Join(err, errSilent)
}

// farewell tells a client why its session has ended without an exit status, as the link and ssh
// would do without a mux. errs is the client's standard error. An empty reason is the connection's.
func (c *control) farewell(errs *stdio.End, why string) {
	w := c.w
	if why == "" {
		killed := ""
		if w.server.cfg.Killed != nil {
			killed = w.server.cfg.Killed(w.name)
		}
		why = w.news.whyEnded(killed)
	}
	if c.in.Log != "" {
		c.log(fmt.Sprintf("Connection to %s closed by remote host.\r\n", w.name))
	}
	switch {
	case why == "":
	case c.screen != nil:
		w.news.unfollow(c.screen) // nothing is shown below the reason
		c.screen.Say(why)
	case c.in.Log == "":
		_, _ = io.WriteString(errs, "keyway: "+strings.ReplaceAll(why, "\n", "\n  ")+"\n")
	}
}

// log writes into the client's log file (ssh -E), which the client has made.
func (c *control) log(line string) {
	path := c.in.Log
	if !filepath.IsAbs(path) {
		path = filepath.Join(cwdOf(c.pid), path)
	}
	if f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		_, _ = io.WriteString(f, line)
		f.Close()
	}
}

// wait serves a client that wants no session: until it ends, or the connection to the guest.
func (c *control) wait(q request, errs *stdio.End) error {
	if err := c.say(message("", sayOpened, q.id, sessionNumber)); err != nil {
		return err
	}
	_ = c.conn.SetDeadline(time.Time{})
	gone := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-gone:
			return
		case <-c.w.guest.ended:
		}
		if c.w.guest.wire.broke() {
			c.farewell(errs, "")
		}
		c.conn.Close()
	})
	awaitEnd(c.conn)
	close(gone)
	watch.Wait()
	return nil
}

// stdio connects a client's standard input and output to a target (ssh -W).
func (c *control) stdio(q request) error {
	fds, err := c.descriptors(2)
	if err != nil {
		return err
	}
	std := &standard{in: stdio.New(fds[0], unix.O_RDONLY, c.pid), out: stdio.New(fds[1], unix.O_WRONLY, c.pid)}
	defer std.in.Close()
	defer std.out.Close()
	if err := c.allow(); err != nil {
		return c.say(message(err.Error(), sayDenied, q.id))
	}
	channel, requests, err := c.direct(q.target)
	if err != nil {
		return c.say(message(plain.Line(err.Error()), sayFailure, q.id))
	}
	defer channel.Close()
	if err := c.say(message("", sayOpened, q.id, sessionNumber)); err != nil {
		return err
	}
	_ = c.conn.SetDeadline(time.Time{})
	gone := make(chan struct{})
	go func() { // joined below
		defer close(gone)
		awaitEnd(c.conn)
		std.Close()
		channel.Close()
	}()
	c.w.guest.relay(std, channel, requests)
	c.conn.Close()
	<-gone
	return nil
}

// direct opens a channel to a target, and gives up if the guest does not answer.
func (c *control) direct(to target) (ssh.Channel, <-chan *ssh.Request, error) {
	var channel ssh.Channel
	var requests <-chan *ssh.Request
	var err error
	g := c.w.guest
	answer := g.wait()
	defer g.answered(answer)
	if !answer.during(g, func() { channel, requests, err = g.direct(to, nil) }, &channel) {
		return nil, nil, errSilent
	}
	return channel, requests, err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// receiveDescriptor receives one descriptor, which comes with one byte.
func receiveDescriptor(conn *net.UnixConn) (int, error) {
	// There is room for several, so that this process can close those that it does not expect.
	oob := make([]byte, unix.CmsgSpace(8*4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return -1, err
	}
	var fds []int
	for _, m := range messages {
		if more, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, more...)
		}
	}
	if len(fds) != 1 {
		closeAll(fds)
		return -1, errMalformed
	}
	unix.CloseOnExec(fds[0])
	return fds[0], nil
}
