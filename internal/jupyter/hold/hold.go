//go:build unix

// Package hold keeps connections to kernels open while the program that reads them is killed and
// started again. Its parent process, a Keeper, holds each connection, too. The program has a Line
// for each.
//
// Small messages stay in the operating system's buffers until they are written to the journal.
// Larger ones the parent moves to a file or, if the disk is full, to memory (Spill). The parent
// also sends requests (Send). It knows how far it got, so a killed program leaves no half message
// on either side.
package hold

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"keyway/internal/jupyter/wire"
)

// note is the state of a connection that the two processes exchange, besides the descriptors.
type note struct {
	Kernel   string `json:"kernel"`
	Protocol string `json:"protocol"` // of the websocket
	Sent     string `json:"sent"`     // the last request that was sent completely
	extent          // of the spill
}

const (
	maxNote = 4 << 10 // bytes
	// maxSend bounds the bytes of a request: the message and the headers of its frames.
	maxSend = wire.MaxMessage + wire.MaxMessage/256
	maxID   = 256 // bytes
)

// requests of a program to its parent
const (
	askSpill = 's' // spill n bytes
	askClear = 'c' // drop the spill
	askSend  = 'w' // write the n bytes that follow
	askDrop  = 'd' // close the connection
)

// command is a letter, a number of eight bytes, a length of two bytes, all big-endian, and as
// many bytes of a request's id. The answer is the extent of the spill: two numbers of eight bytes
// each.
type command struct {
	ask byte
	n   int64
	id  string
}

func (c command) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, c.ask), uint64(c.n))
	return append(binary.BigEndian.AppendUint16(b, uint16(len(c.id))), c.id...)
}

func readCommand(r *bufio.Reader) (c command, err error) {
	var head [11]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return c, err
	}
	c.ask, c.n = head[0], int64(binary.BigEndian.Uint64(head[1:]))
	length := binary.BigEndian.Uint16(head[9:])
	if length > maxID || c.n < 0 || c.ask == askSend && c.n > maxSend {
		return c, fmt.Errorf("no command: %x", head)
	}
	id := make([]byte, length)
	_, err = io.ReadFull(r, id)
	c.id = string(id)
	return c, err
}

// pair returns a connection within this machine: one end for each process.
func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "line")
	conn, err := connOf(fds[0])
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// connOf returns the connection of a descriptor, and closes the descriptor.
func connOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "connection")
	if f == nil {
		return nil, errors.New("no descriptor")
	}
	defer f.Close()
	return net.FileConn(f)
}
