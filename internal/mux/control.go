//go:build linux

package mux

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/unixsock"
)

const (
	// greetTime bounds how long a client may take to greet and to say what it wants.
	greetTime = 30 * time.Second
	// sessionNumber is that of the one session of a control connection.
	sessionNumber = 1
)

// control is a connection of one ssh.
type control struct {
	conn *net.UnixConn
	pid  int
	done bool // it has had its session, or wants to be forgotten
	w    *workspace
}

// serve serves one client. What the client wants that cannot be the same here ends
// before the greeting: ssh says so in a line, and connects by itself.
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
	args, err := commandLine(c.pid)
	if err != nil {
		return err
	}
	in, err := readArgs(args)
	if err == nil && in.user != "" && in.user != c.w.guest.permit.user {
		err = errors.New("called for another user")
	}
	if err == nil && !in.control {
		err = c.w.guest.permit.allow(c.pid)
	}
	if err != nil {
		return err
	}
	_ = c.conn.SetDeadline(time.Now().Add(greetTime))
	if err := c.greet(); err != nil {
		return err
	}
	for !c.done {
		body, err := readMessage(c.conn)
		if err != nil {
			return nil // it has gone
		}
		q, err := parseRequest(body)
		if err != nil {
			return err
		}
		if err := c.answer(q, in.control); err != nil {
			return err
		}
	}
	return nil
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

// answer does what a client asks for. One that came to control gets no session,
// which was decided without the agent.
func (c *control) answer(q request, controls bool) error {
	switch {
	case q.kind == askAlive:
		return c.say(message("", sayAlive, q.id, uint32(os.Getpid())))
	case q.kind == askSession && !controls:
		return c.session(q)
	case q.kind == askStop && controls:
		c.w.retire()
		return c.say(message("", sayOK, q.id))
	case q.kind == askTerminate && controls:
		c.w.retire()
		c.done = true
		err := c.say(message("", sayOK, q.id))
		c.w.guest.ssh.Close()
		return err
	}
	return c.say(message("keyway's mux does not forward; ssh connects by itself", sayFailure, q.id))
}

func (c *control) say(b []byte) error {
	_, err := c.conn.Write(b)
	return err
}

// session serves the one session of a client.
func (c *control) session(q request) error {
	c.done = true
	var fds [3]int
	for i := range fds {
		fd, err := receiveDescriptor(c.conn)
		if err != nil {
			closeAll(fds[:i])
			return err
		}
		fds[i] = fd
	}
	s := &session{
		guest: c.w.guest, ask: q.session,
		in: newEnd(fds[0], unix.O_RDONLY, c.pid), out: newEnd(fds[1], unix.O_WRONLY, c.pid), errs: newEnd(fds[2], unix.O_WRONLY, c.pid),
	}
	defer s.in.close()
	defer s.out.close()
	defer s.errs.close()
	if s.ask.x11 || s.ask.agent {
		return c.say(message("keyway's mux forwards neither agent nor display; ssh connects by itself", sayFailure, q.id))
	}
	var err error
	if s.channel, err = c.w.guest.take(); err != nil {
		return c.say(message("the connection to the workspace has ended", sayFailure, q.id))
	}
	c.w.guest.enter(s)
	defer c.w.guest.leave(s)
	ended, err := s.begin()
	if err != nil {
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

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// receiveDescriptor takes one descriptor, which comes with one byte.
func receiveDescriptor(conn *net.UnixConn) (int, error) {
	// Room for several, so that none is lost unclosed.
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
