//go:build unix

package handover

import (
	"encoding/binary"
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// Close closes the descriptors of a bundle that was received.
func (b Bundle) Close() {
	for _, fd := range b.Descriptors {
		unix.Close(fd)
	}
}

// maxDescriptors bounds the descriptors in one message.
const maxDescriptors = 8

// ErrTooLarge means that a state exceeds the bound of its receiver.
var ErrTooLarge = errors.New("the state to hand over is too large")

// Send sends b, which has at least one descriptor, over conn: a byte with the descriptors
// beside it, the length of the state in four bytes, and the state. SendEnd tells the
// receiver of the last one.
func (b Bundle) Send(conn *net.UnixConn) error {
	if err := SendDescriptors(conn, 0, b.Descriptors...); err != nil {
		return err
	}
	_, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b.State))), b.State...))
	return err
}

// SendEnd tells the receiver that there is no further bundle.
func SendEnd(conn *net.UnixConn) error {
	_, err := conn.Write([]byte{0})
	return err
}

// Receive reads what Send has sent, with a state of at most max bytes; io.EOF after
// SendEnd.
func Receive(conn *net.UnixConn, max uint32) (Bundle, error) {
	_, fds, err := ReceiveDescriptors(conn)
	if err != nil {
		return Bundle{}, err
	}
	if len(fds) == 0 {
		return Bundle{}, io.EOF
	}
	b := Bundle{Descriptors: fds}
	if b.State, err = receiveState(conn, max); err != nil {
		b.Close()
		return Bundle{}, err
	}
	return b, nil
}

// receiveState reads a state. The end of the connection is none of the bundles'.
func receiveState(conn *net.UnixConn, max uint32) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, unexpected(err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > max {
		return nil, ErrTooLarge
	}
	state := make([]byte, n)
	_, err := io.ReadFull(conn, state)
	return state, unexpected(err)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// SendDescriptors sends one byte with descriptors beside it.
func SendDescriptors(conn *net.UnixConn, what byte, fds ...int) error {
	_, _, err := conn.WriteMsgUnix([]byte{what}, unix.UnixRights(fds...), nil)
	return err
}

// ReceiveDescriptors reads one byte and the descriptors beside it, which no program that
// this process starts inherits.
func ReceiveDescriptors(conn *net.UnixConn) (what byte, fds []int, err error) {
	oob := make([]byte, unix.CmsgSpace(4*maxDescriptors))
	var one [1]byte
	n, oobn, _, _, err := conn.ReadMsgUnix(one[:], oob)
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
