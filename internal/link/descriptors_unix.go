//go:build unix

package link

import (
	"io"
	"net"
	"os"
	"syscall"
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
	_, fds, err := receiveRights(c)
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
	_, fds, err := receiveRights(from)
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

// sendScreen sends what and the descriptor of a screen.
func sendScreen(to *net.UnixConn, what byte, s screen) error {
	t, ok := s.(*terminal)
	if !ok {
		return net.ErrClosed
	}
	_, _, err := to.WriteMsgUnix([]byte{what}, unix.UnixRights(t.fd), nil)
	return err
}

// receiveScreen takes what sendScreen has sent; the screen may be nil.
func receiveScreen(from *net.UnixConn) (what byte, s screen, err error) {
	what, fds, err := receiveRights(from)
	if err != nil || len(fds) == 0 {
		return what, nil, err
	}
	closeAll(fds[1:])
	return what, newTerminal(fds[0]), nil
}

// socketPair is a connection between a process and its child.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // macOS has no socket pair that closes on exec by itself
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	theirs = os.NewFile(uintptr(fds[1]), "guard")
	mine := os.NewFile(uintptr(fds[0]), "guard")
	defer mine.Close()
	if ours, err = fileConn(mine); err != nil {
		theirs.Close()
	}
	return ours, theirs, err
}

// fileConn is the connection that f is.
func fileConn(f *os.File) (*net.UnixConn, error) {
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	c, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

// maxDescriptors is how many descriptors one message may bring.
const maxDescriptors = 8

// receiveRights reads one byte and the descriptors beside it.
func receiveRights(c *net.UnixConn) (what byte, fds []int, err error) {
	oob := make([]byte, unix.CmsgSpace(4*maxDescriptors))
	var one [1]byte
	n, oobn, _, _, err := c.ReadMsgUnix(one[:], oob)
	if err != nil {
		return 0, nil, err
	}
	if n == 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return 0, nil, err
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
	return one[0], fds, nil
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
		_, _ = unix.Write(t.fd, []byte(text))
	}
}

func (t *terminal) close() { unix.Close(t.fd) }
