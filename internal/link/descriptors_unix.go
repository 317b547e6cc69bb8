//go:build unix

package link

import (
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"keyway/internal/handover"
	"keyway/internal/pipe"

	"golang.org/x/sys/unix"
)

// terminalTimeout bounds the time in which a command passes its descriptors.
const terminalTimeout = 5 * time.Second

// movable reports whether connections can be passed to another process.
const movable = true

// passTerminal sends the descriptor of an ssh's standard error over conn, beside one byte.
func passTerminal(conn *net.UnixConn, fd int) error {
	return handover.SendDescriptors(conn, 0, fd)
}

// receiveNews receives the descriptor of passTerminal: a terminal, or something else. Both are nil
// if there is none. A pipe that takes lines counts as a terminal.
func receiveNews(conn net.Conn, lines bool) (onTerminal screen, other paper, err error) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, net.ErrClosed
	}
	c.SetReadDeadline(time.Now().Add(terminalTimeout))
	defer c.SetReadDeadline(time.Time{})
	_, fds, err := handover.ReceiveDescriptors(c)
	if err != nil {
		return nil, nil, err
	}
	if len(fds) != 1 {
		closeAll(fds)
		return nil, nil, nil
	}
	if isTerminal(fds[0]) || lines && isPipe(fds[0]) {
		return newScreen(fds[0]), nil, nil
	}
	return nil, file{descriptor(fds[0])}, nil
}

// passEnds sends the two descriptors over conn, beside one byte.
func passEnds(conn *net.UnixConn, in, out *os.File) error {
	return handover.SendDescriptors(conn, 0, int(in.Fd()), int(out.Fd()))
}

// receiveEnds receives the descriptors of passEnds.
func receiveEnds(conn net.Conn) (net.Conn, error) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, net.ErrClosed
	}
	c.SetReadDeadline(time.Now().Add(terminalTimeout))
	_, fds, err := handover.ReceiveDescriptors(c)
	if err != nil {
		return nil, err
	}
	if len(fds) != 2 || !isPipe(fds[0]) || !isPipe(fds[1]) {
		closeAll(fds)
		return nil, os.ErrInvalid
	}
	return newPipes(fds[0], fds[1]), nil
}

func isPipe(fd int) bool {
	var s unix.Stat_t
	return unix.Fstat(fd, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFIFO
}

// newPipes makes a connection of two pipes whose other ends an ssh has. They must not block:
// otherwise no deadline can end a read.
func newPipes(in, out int) *pipe.Pair {
	_ = unix.SetNonblock(in, true)
	_ = unix.SetNonblock(out, true)
	p := &pipe.Pair{In: os.NewFile(uintptr(in), "from ssh"), Out: os.NewFile(uintptr(out), "to ssh")}
	pipe.Widen(pipe.Wide, p.In, p.Out)
	return p
}

// newScreen returns the screen of fd; nil if it is neither a terminal nor a pipe.
func newScreen(fd int) screen {
	switch {
	case isTerminal(fd):
		return &terminal{device: descriptor(fd)}
	case isPipe(fd):
		return newProgram(descriptor(fd))
	}
	unix.Close(fd)
	return nil
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	return err == nil
}

// send passes a connection and, if it has one, its screen to another process, with their state.
func send(to *net.UnixConn, conn net.Conn, s screen, state []byte) error {
	var files []syscall.Conn
	switch c := conn.(type) {
	case *net.UnixConn:
		files = []syscall.Conn{c}
	case *pipe.Pair:
		files = []syscall.Conn{c.In, c.Out}
	default:
		return net.ErrClosed
	}
	b := handover.Bundle{State: state}
	for _, f := range files {
		if err := b.Add(f); err != nil {
			return err
		}
	}
	if s != nil {
		b.Descriptors = append(b.Descriptors, s.fd())
	}
	return b.Send(to)
}

// sendEnd tells the other process that no connection follows.
func sendEnd(to *net.UnixConn) error { return handover.SendEnd(to) }

// receive receives a connection of send; io.EOF after sendEnd.
func receive(from *net.UnixConn) (conn net.Conn, s screen, state []byte, err error) {
	b, err := handover.Receive(from, maxHandedOver)
	if err != nil {
		return nil, nil, nil, err
	}
	fds := b.Descriptors
	rest := fds[1:]
	if len(fds) > 1 && isPipe(fds[0]) && isPipe(fds[1]) {
		conn, rest = newPipes(fds[0], fds[1]), fds[2:]
	} else {
		f := os.NewFile(uintptr(fds[0]), "ssh")
		conn, err = net.FileConn(f)
		f.Close()
	}
	if err != nil || len(rest) == 0 {
		closeAll(rest)
		return conn, nil, b.State, err
	}
	closeAll(rest[1:])
	return conn, newScreen(rest[0]), b.State, nil
}

// sendScreen sends what and the descriptor of a screen.
func sendScreen(to *net.UnixConn, what byte, s screen) error {
	return handover.SendDescriptors(to, what, s.fd())
}

// receiveScreen receives the data of sendScreen; the screen may be nil.
func receiveScreen(from *net.UnixConn) (what byte, s screen, err error) {
	what, fds, err := handover.ReceiveDescriptors(from)
	if err != nil || len(fds) == 0 {
		return what, nil, err
	}
	closeAll(fds[1:])
	return what, newScreen(fds[0]), nil
}

// socketPair returns a connection between this process and a child.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // macOS cannot create a socket pair with close-on-exec set
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

// fileConn returns the connection of f's descriptor.
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

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// descriptor is the descriptor of a terminal, a pipe or a file.
type descriptor int

func (d descriptor) fd() int { return int(d) }

func (d descriptor) size() int {
	w, err := unix.IoctlGetWinsize(int(d), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(w.Col)
}

// atOnce is the number of bytes that a pipe takes without waiting, if it takes any (pipe(7),
// PIPE_BUF). A host on the route may have chosen a longer text.
const atOnce = 4096

func (d descriptor) write(text string) {
	if len(text) > atOnce {
		text = strings.ToValidUTF8(text[:atOnce-1], "") + "\n"
	}
	ready := []unix.PollFd{{Fd: int32(d), Events: unix.POLLOUT}}
	if n, err := unix.Poll(ready, 0); err == nil && n == 1 && ready[0].Revents == unix.POLLOUT {
		_, _ = unix.Write(int(d), []byte(text))
	}
}

func (d descriptor) close() { unix.Close(int(d)) }

// file is the standard error of a user's ssh that is no terminal.
type file struct{ descriptor }

func (f file) ended(reason string, _ bool) {
	f.write(strings.ReplaceAll(lines(reason), "\r\n", "\n"))
}
