package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"keyway/internal/sshwire"
)

// The messages of OpenSSH's PROTOCOL.mux, version 4.
const (
	protocolVersion = 4

	msgHello = 0x00000001

	askSession   = 0x10000002
	askAlive     = 0x10000004
	askTerminate = 0x10000005
	askOpen      = 0x10000006 // a forward
	askClose     = 0x10000007
	askStdio     = 0x10000008 // ssh -W
	askStop      = 0x10000009

	sayOK      = 0x80000001
	sayDenied  = 0x80000002
	sayFailure = 0x80000003
	sayExit    = 0x80000004
	sayAlive   = 0x80000005
	sayOpened  = 0x80000006
	sayPort    = 0x80000007 // a port that the guest has chosen
)

const (
	// maxMessage bounds the bytes of a message. A session's has all of its variables and its command,
	// which Linux bounds to 2 MiB together as a rule, and to 6 MiB at most (execve(2)).
	maxMessage = 6 << 20
	// maxVariables bounds the variables of a session.
	maxVariables = 1024
	// noEscape is the escape character of a session without one.
	noEscape = 0xffffffff
)

// request is a message of a client. Only askSession has a session, only askOpen and askClose a
// forward, and only askStdio a target.
type request struct {
	kind, id uint32
	session  sessionRequest
	forward  forwardRequest
	target   target
}

// target is a host and a port, or the path of a socket.
type target struct {
	host string
	port uint32 // onPath: host is a path
}

// onPath is the port of a unix socket.
const onPath = 0xfffffffe

// The kinds of forwards.
const (
	forwardLocal   = 1
	forwardRemote  = 2
	forwardDynamic = 3
)

// forwardRequest is a forward: connections to listen are connected to connect.
type forwardRequest struct {
	kind            uint32
	listen, connect target
}

// sessionRequest is an ssh's request for a session.
type sessionRequest struct {
	tty, x11, agent, subsystem bool
	escape                     uint32 // noEscape: none
	term, command              string
	env                        []string // NAME=VALUE
}

var errMalformed = errors.New("a message that cannot be read")

// parseHello parses the greeting of a client.
func parseHello(b []byte) error {
	r := sshwire.NewReader(b)
	kind, version := r.Uint32(), r.Uint32()
	for r.More() { // extensions, of which OpenSSH has none
		r.String()
		r.String()
	}
	switch {
	case r.End() != nil || kind != msgHello:
		return errMalformed
	case version != protocolVersion:
		return fmt.Errorf("version %d of the protocol", version)
	}
	return nil
}

// parseRequest parses a message after the greeting.
func parseRequest(b []byte) (request, error) {
	r := sshwire.NewReader(b)
	q := request{kind: r.Uint32(), id: r.Uint32()}
	if r.Err() != nil {
		return request{}, errMalformed
	}
	switch q.kind {
	case askSession:
		return q.readSession(r)
	case askOpen, askClose:
		q.forward.kind = r.Uint32()
		q.forward.listen = target{r.Text(), r.Uint32()}
		q.forward.connect = target{r.Text(), r.Uint32()}
	case askStdio:
		r.String() // reserved
		q.target = target{r.Text(), r.Uint32()}
	default:
		return q, nil // the remaining fields are not needed
	}
	if r.End() != nil || q.forward.kind > forwardDynamic || q.kind != askStdio && q.forward.kind == 0 {
		return request{}, errMalformed
	}
	return q, nil
}

func (q request) readSession(r *sshwire.Reader) (request, error) {
	r.String() // reserved
	for _, flag := range []*bool{&q.session.tty, &q.session.x11, &q.session.agent, &q.session.subsystem} {
		*flag = r.Uint32() != 0
	}
	q.session.escape = r.Uint32()
	q.session.term, q.session.command = r.Text(), r.Text()
	for r.More() {
		if len(q.session.env) == maxVariables {
			return request{}, errMalformed
		}
		q.session.env = append(q.session.env, r.Text())
	}
	if r.End() != nil {
		return request{}, errMalformed
	}
	return q, nil
}

// readMessage reads one message and no byte more: descriptors may follow.
func readMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return nil, errMalformed
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}

// message encodes a message of numbers, and of the text if it is not empty.
func message(text string, numbers ...uint32) []byte {
	b := make([]byte, 4, 64)
	for _, n := range numbers {
		b = sshwire.AppendUint32(b, n)
	}
	if text != "" {
		b = sshwire.AppendString(b, text)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}
