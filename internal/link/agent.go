package link

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"os"
	"strings"
	"time"

	"keyway/internal/unixsock"
)

// Of the agent's protocol (draft-ietf-sshm-ssh-agent, section 6.1).
const (
	agentRequestIdentities = 11
	agentIdentitiesAnswer  = 12
)

// agentTimeout bounds how long the agent may take to say what it holds.
const agentTimeout = 2 * time.Second

// agentIsEmpty reports whether the agent that the uplink's ssh uses holds no key, or is
// not there. Without an agent there is none to be empty.
func (u *uplink) agentIsEmpty() bool {
	socket := u.agentSocket()
	return socket != "" && agentKeys(socket).count == 0
}

// agentHolds is what the agent that the uplink's ssh uses holds now.
func (u *uplink) agentHolds() held {
	if socket := u.agentSocket(); socket != "" {
		return agentKeys(socket)
	}
	return held{}
}

func (u *uplink) agentSocket() string {
	socket := os.Getenv("SSH_AUTH_SOCK")
	u.mu.Lock()
	for _, kv := range u.env {
		if value, ok := strings.CutPrefix(kv, "SSH_AUTH_SOCK="); ok {
			socket = value
		}
	}
	u.mu.Unlock()
	return socket
}

// held is what an agent holds: how many keys, and which.
type held struct {
	count uint32
	which [sha256.Size]byte
}

// maxHeld bounds an agent's answer in bytes.
const maxHeld = 1 << 20

// agentKeys is what the agent at socket offers: nothing if it is locked or does not
// answer.
func agentKeys(socket string) (h held) {
	conn, err := unixsock.Dial(socket)
	if err != nil {
		return held{}
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(agentTimeout))
	if _, err := conn.Write([]byte{0, 0, 0, 1, agentRequestIdentities}); err != nil {
		return held{}
	}
	var head [9]byte // length, type, number of keys
	if _, err := io.ReadFull(conn, head[:]); err != nil || head[4] != agentIdentitiesAnswer {
		return held{}
	}
	sum := sha256.New()
	length := int64(binary.BigEndian.Uint32(head[:])) - int64(len(head)-4)
	_, _ = io.Copy(sum, io.LimitReader(conn, min(max(length, 0), maxHeld)))
	h.count = binary.BigEndian.Uint32(head[5:])
	sum.Sum(h.which[:0])
	return h
}
