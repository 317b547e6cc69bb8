//go:build unix

package link

import (
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// terminalPatience bounds how long a command may take to hand its terminal over.
const terminalPatience = 5 * time.Second

// movable says whether connections can be handed to another process.
const movable = true

// passTerminal sends the terminal's descriptor over conn, beside one byte.
func passTerminal(conn *net.UnixConn, fd int) error {
	_, _, err := conn.WriteMsgUnix([]byte{0}, unix.UnixRights(fd), nil)
	return err
}

// receiveTerminal takes what passTerminal has sent. That it is a descriptor of
// the command's own, and a terminal, is all that makes it one we may write to.
func receiveTerminal(conn net.Conn) (screen, error) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, net.ErrClosed
	}
	c.SetReadDeadline(time.Now().Add(terminalPatience))
	defer c.SetReadDeadline(time.Time{})
	fds, err := receiveRights(c)
	if err != nil {
		return nil, err
	}
	if len(fds) != 1 {
		closeAll(fds)
		return nil, nil
	}
	return newTerminal(fds[0]), nil
}

// newTerminal is the screen that fd is; nil if it is none.
func newTerminal(fd int) screen {
	if _, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err != nil {
		unix.Close(fd)
		return nil
	}
	return &terminal{fd}
}

// sendDescriptors sends those of a connection and, if it has one, of its screen.
func sendDescriptors(to *net.UnixConn, conn net.Conn, s screen) error {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return net.ErrClosed
	}
	f, err := c.File()
	if err != nil {
		return err
	}
	defer f.Close()
	fds := []int{int(f.Fd())}
	if t, ok := s.(*terminal); ok {
		fds = append(fds, t.fd)
	}
	_, _, err = to.WriteMsgUnix([]byte{0}, unix.UnixRights(fds...), nil)
	return err
}

// receiveDescriptors takes what sendDescriptors has sent; io.EOF when there is
// nothing beside the byte.
func receiveDescriptors(from *net.UnixConn) (net.Conn, screen, error) {
	fds, err := receiveRights(from)
	if err != nil {
		return nil, nil, err
	}
	if len(fds) == 0 {
		return nil, nil, io.EOF
	}
	f := os.NewFile(uintptr(fds[0]), "ssh")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil || len(fds) == 1 {
		closeAll(fds[1:])
		return conn, nil, err
	}
	closeAll(fds[2:])
	return conn, newTerminal(fds[1]), nil
}

// maxDescriptors is how many descriptors one message may bring.
const maxDescriptors = 8

// receiveRights reads one byte and the descriptors beside it.
func receiveRights(c *net.UnixConn) (fds []int, err error) {
	oob := make([]byte, unix.CmsgSpace(4*maxDescriptors))
	n, oobn, _, _, err := c.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		some, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range some {
			unix.CloseOnExec(fd)
		}
		fds = append(fds, some...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// terminal is a terminal that belongs to somebody else's ssh.
type terminal struct{ fd int }

func (t *terminal) size() int {
	w, err := unix.IoctlGetWinsize(t.fd, unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(w.Col)
}

func (t *terminal) write(text string) {
	ready := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(ready, 0); err == nil && n == 1 && ready[0].Revents == unix.POLLOUT {
		unix.Write(t.fd, []byte(text))
	}
}

func (t *terminal) close() { unix.Close(t.fd) }
