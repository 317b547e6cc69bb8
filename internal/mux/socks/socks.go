// Package socks reads the targets of SOCKS clients.
package socks

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
)

var errUnknown = errors.New("no SOCKS that is understood")

// maxWord bounds the bytes of the user and of the name of a SOCKS 4 client.
const maxWord = 255

// Target is the target of a client.
type Target struct {
	Host string
	Port uint32
}

// Read reads the target of a client of SOCKS 4, 4a or 5 (RFC 1928). granted is the answer to a client
// whose target has been reached. If it cannot be reached, the client gets none, as of ssh.
func Read(conn io.ReadWriter) (to Target, granted []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return to, nil, err
	}
	switch head[0] {
	case 4:
		to, err = read4(conn, head[1])
		return to, []byte{0, 90, 0, 0, 0, 0, 0, 0}, err
	case 5:
		to, err = read5(conn, int(head[1]))
		return to, []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}, err
	}
	return to, nil, errUnknown
}

// connect is the only command that is served, in each version.
const connect = 1

func read4(conn io.Reader, command byte) (to Target, err error) {
	var b [6]byte // port, address
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return to, err
	}
	if _, err := readWord(conn); err != nil { // the user
		return to, err
	}
	to = Target{net.IP(b[2:]).String(), uint32(binary.BigEndian.Uint16(b[:]))}
	if b[2] == 0 && b[3] == 0 && b[4] == 0 && b[5] != 0 { // 4a: a name follows
		if to.Host, err = readWord(conn); err != nil {
			return to, err
		}
	}
	if command != connect {
		return to, errUnknown
	}
	return to, nil
}

// readWord reads up to a zero byte.
func readWord(r io.Reader) (string, error) {
	var word []byte
	for one := make([]byte, 1); len(word) <= maxWord; word = append(word, one[0]) {
		if _, err := io.ReadFull(r, one); err != nil {
			return "", err
		}
		if one[0] == 0 {
			return string(word), nil
		}
	}
	return "", errUnknown
}

func read5(conn io.ReadWriter, methods int) (to Target, err error) {
	if _, err := io.CopyN(io.Discard, conn, int64(methods)); err != nil {
		return to, err
	}
	if _, err := conn.Write([]byte{5, 0}); err != nil { // no authentication
		return to, err
	}
	var b [5]byte // version, command, 0, kind of address, its first byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return to, err
	}
	rest, name := 0, false
	switch b[3] {
	case 1:
		rest = net.IPv4len - 1
	case 3:
		rest, name = int(b[4]), true
	case 4:
		rest = net.IPv6len - 1
	}
	if b[0] != 5 || b[1] != connect || rest == 0 {
		return to, errUnknown
	}
	address := make([]byte, rest+2)
	if _, err := io.ReadFull(conn, address); err != nil {
		return to, err
	}
	to.Port = uint32(binary.BigEndian.Uint16(address[rest:]))
	if name {
		to.Host = string(address[:rest])
	} else {
		to.Host = net.IP(append([]byte{b[4]}, address[:rest]...)).String()
	}
	return to, nil
}
