package link

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/pipe"
	"keyway/internal/plain"
)

// sendDisconnect tells the ssh at the other end of conn why there is no connection, in a form that
// clients print: an identification line and an SSH_MSG_DISCONNECT (RFC 4253 sections 4.2, 6 and
// 11.1). The descriptor has already been passed on, so there is no other way to report an error.
// (Passing it on before the guest answers saves a round trip for each connection.) It must come
// before any byte of the guest.
func sendDisconnect(conn net.Conn, err error) {
	endBy(conn, append([]byte(identification), disconnectPacket(err)...))
}

// endBy ends the connection to an ssh with those bytes.
func endBy(conn net.Conn, last []byte) {
	conn.SetDeadline(time.Now().Add(disconnectTimeout))
	if _, err := conn.Write(last); err == nil {
		readOut(conn)
	}
}

// disconnectPacket returns the SSH_MSG_DISCONNECT for err, as it is sent before the encryption begins.
func disconnectPacket(err error) []byte {
	e := keyway.AsError(err)
	text := e.Message
	switch {
	case e.Host != "":
		text = string(e.Host) + " says: " + text
	case e.Next != "":
		text += ". Next: " + e.Next
	}
	return packed(plain.ASCII(text))
}

// readOut ends our direction of conn and waits for the client's end. Clients first send their own
// identification line and then read. The connection must accept the line; otherwise they get a
// broken pipe instead of the reason.
func readOut(conn net.Conn) {
	pipe.CloseWrite(conn)
	io.Copy(io.Discard, conn)
}

// identification is the line with which an SSH server begins. An ssh that gets it and nothing more
// prints one line of its own, "Connection closed by"; without it, two. It never prints none.
const identification = "SSH-2.0-keyway\r\n"

// EndIdentified ends the connection of an ssh whose user already has the reason. in and out are the
// standard input and output of its proxy command.
func EndIdentified(in, out *os.File) { endWith([]byte(identification), in, out) }

// EndDisconnected is EndIdentified for an ssh whose user does not have the reason yet, which is err.
func EndDisconnected(in, out *os.File, err error) {
	endWith(append([]byte(identification), disconnectPacket(err)...), in, out)
}

func endWith(last []byte, in, out *os.File) {
	if _, err := out.Write(last); err != nil {
		return
	}
	out.Close()
	ended := make(chan struct{})
	go func() { // ends with the process at the latest
		defer close(ended)
		_, _ = io.Copy(io.Discard, in)
	}()
	select {
	case <-ended:
	case <-time.After(disconnectTimeout):
	}
}

// disconnectTimeout bounds the time for a client to read the reason.
const disconnectTimeout = 5 * time.Second

const (
	msgDisconnect           = 1
	disconnectByApplication = 11
	// maxDisconnectText bounds the bytes of the text; OpenSSH prints 400 of them.
	maxDisconnectText = 400
	// blockSize is the packet alignment before encryption begins, minPadding the least padding (RFC
	// 4253 section 6).
	blockSize  = 8
	minPadding = 4
)

// packed returns the packet with that text.
func packed(text string) []byte {
	payload := []byte{msgDisconnect}
	payload = binary.BigEndian.AppendUint32(payload, disconnectByApplication)
	payload = appendString(payload, text[:min(len(text), maxDisconnectText)])
	return packet(appendString(payload, "en"))
}

// packet returns an SSH packet without encryption.
func packet(payload []byte) []byte {
	padding := blockSize - (4+1+len(payload)+minPadding)%blockSize + minPadding
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	b = append(b, byte(padding))
	b = append(b, payload...)
	return append(b, make([]byte, padding)...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
