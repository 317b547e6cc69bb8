//go:build unix

package link

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// terminalPatience bounds how long a command may take to hand its terminal over.
const terminalPatience = 5 * time.Second

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
	fds, _, err := receiveDescriptors(c, make([]byte, 1))
	if err != nil {
		return nil, err
	}
	if len(fds) != 1 {
		closeAll(fds)
		return nil, nil
	}
	if _, err := unix.IoctlGetWinsize(fds[0], unix.TIOCGWINSZ); err != nil {
		closeAll(fds)
		return nil, nil
	}
	return &terminal{fds[0]}, nil
}

// maxDescriptors is how many descriptors one message may bring.
const maxDescriptors = 8

// receiveDescriptors reads one message and the descriptors beside it.
func receiveDescriptors(c *net.UnixConn, b []byte) (fds []int, n int, err error) {
	oob := make([]byte, unix.CmsgSpace(4*maxDescriptors))
	n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, 0, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, 0, err
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
	return fds, n, nil
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
