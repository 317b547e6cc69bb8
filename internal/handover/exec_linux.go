package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"keyway/internal/proctree"
)

const (
	maxNote  = 1 << 17  // bytes
	maxState = 64 << 20 // bytes
)

// Exec becomes the program, with the same arguments and the bundle's descriptors open under
// their numbers. The variable tells that program where it finds the state and the note
// (Inherit). It returns only if that fails.
//
// The state is in a sealed memory file that waits in a socket as a message: in the moment between
// exec and the hardening of the new process, other programs of the user could open every descriptor
// of this process through /proc, but not one that has not been received yet.
func (b Bundle) Exec(program, variable string, note []byte) error {
	waiting, err := leave(note, b.State)
	if err != nil {
		return err
	}
	defer unix.Close(waiting)
	for _, fd := range append(b.Descriptors, waiting) {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	return syscall.Exec(program, os.Args, append(os.Environ(), variable+"="+strconv.Itoa(waiting)))
}

// Inherit takes what an older program has left for this process; found is false where there was
// none. No process may have traced this one: harden is called first, which prevents it.
func Inherit(variable string, harden func() error) (note, state []byte, found bool, err error) {
	number, err := strconv.Atoi(os.Getenv(variable))
	if err != nil {
		return nil, nil, false, nil
	}
	_ = os.Unsetenv(variable)
	if err := harden(); err != nil {
		return nil, nil, true, err
	}
	defer unix.Close(number)
	if proctree.Traced() {
		return nil, nil, true, errors.New("another program traces this one")
	}
	note, state, err = take(number)
	return note, state, true, err
}

// Conn returns the connection whose descriptor Exec has kept open.
func Conn(descriptor int) (net.Conn, error) {
	f := os.NewFile(uintptr(descriptor), "connection")
	if f == nil {
		return nil, fmt.Errorf("%d is not a descriptor", descriptor)
	}
	defer f.Close()
	return net.FileConn(f)
}

// leave writes the note and the state into a socket and returns the end from which to read them.
func leave(note, state []byte) (socket int, err error) {
	memory, err := sealed(state)
	if err != nil {
		return -1, err
	}
	defer memory.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pair[0])
	if err := unix.Sendmsg(pair[0], note, unix.UnixRights(int(memory.Fd())), nil, 0); err != nil {
		unix.Close(pair[1])
		return -1, err
	}
	return pair[1], nil
}

// sealed returns a sealed memory file with the state, which no process can change.
func sealed(state []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("keyway", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "state")
	if _, err = file.Write(state); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// take reads what leave has put into a socket.
func take(socket int) (note, state []byte, err error) {
	note, rights := make([]byte, maxNote), make([]byte, unix.CmsgSpace(4))
	n, nr, _, _, err := unix.Recvmsg(socket, note, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:nr])
	if err != nil || len(messages) != 1 {
		return nil, nil, errors.New("no state came with the message")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, nil, err
	}
	memory := os.NewFile(uintptr(fds[0]), "state")
	defer memory.Close()
	info, err := memory.Stat()
	if err != nil || info.Size() > maxState {
		return nil, nil, errors.New("the state has a wrong size")
	}
	state = make([]byte, info.Size())
	_, err = memory.ReadAt(state, 0)
	return note[:n], state, err
}
