package agent

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"keyway/internal/sshwire"
)

// Message numbers of RFC 9987 section 6.1, and of OpenSSH.
const (
	msgRemoveAllV1    = 9 // SSH_AGENTC_REMOVE_ALL_RSA_IDENTITIES, sent by ssh-add -D beside 19
	msgFailure        = 5
	msgSuccess        = 6
	msgList           = 11
	msgIdentities     = 12
	msgSign           = 13
	msgSignature      = 14
	msgAdd            = 17
	msgRemove         = 18
	msgRemoveAll      = 19
	msgAddCard        = 20
	msgRemoveCard     = 21
	msgLock           = 22
	msgUnlock         = 23
	msgAddConstrained = 25
	msgAddCardConstr  = 26
	msgExtension      = 27
	msgExtFailure     = 28
	msgExtResponse    = 29
)

// Constraint numbers of RFC 9987 section 3.2.7, and of OpenSSH.
const (
	constrainLifetime  = 1
	constrainConfirm   = 2
	constrainMaxSigns  = 3
	constrainExtension = 255
)

// Extensions.
const (
	extQuery           = "query"
	extSessionBind     = "session-bind@openssh.com"
	extRestrict        = "restrict-destination-v00@openssh.com"
	extAssociatedCerts = "associated-certs-v00@openssh.com"
	extSKProvider      = "sk-provider@openssh.com"
	extKeys            = "keys@keyway"
	extQuestions       = "questions@keyway"
	extAnswer          = "answer@keyway"
	extForget          = "forget@keyway"
	extWatch           = "watch@keyway"
	extLifetime        = "lifetime@keyway"
	extSession         = "session@keyway"
)

var (
	failure    = []byte{msgFailure}
	success    = []byte{msgSuccess}
	extFailure = []byte{msgExtFailure}

	errTooLong = errors.New("a message of a wrong length")
)

// deadliner is the part of net.Conn that reading needs.
type deadliner interface {
	SetReadDeadline(time.Time) error
}

// peeker is the part of bufio.Reader that is needed.
type peeker interface {
	io.Reader
	Peek(int) ([]byte, error)
}

// readMessage waits as long as it takes for a message to begin, and not long for
// it to end. Memory is taken as bytes arrive, not as they are announced.
func readMessage(r peeker, d deadliner) ([]byte, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	if err := d.SetReadDeadline(time.Now().Add(partialWithin)); err != nil {
		return nil, err
	}
	var header [4]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n == 0 || n > maxMessage {
		return nil, errTooLong
	}
	body, err := readBody(r, int(n))
	if err != nil {
		return nil, err
	}
	return body, d.SetReadDeadline(time.Time{})
}

const firstChunk = 4 << 10

func readBody(r io.Reader, n int) ([]byte, error) {
	body := make([]byte, min(n, firstChunk))
	for have := 0; ; {
		m, err := io.ReadFull(r, body[have:])
		if err != nil {
			return nil, err
		}
		if have += m; have == n {
			return body, nil
		}
		// The bytes may be a private key, so the old ones are not left behind.
		larger := make([]byte, min(n, 2*len(body)))
		copy(larger, body)
		clear(body)
		body = larger
	}
}

// frame returns body preceded by its length.
func frame(body []byte) []byte { return sshwire.AppendString(nil, body) }
