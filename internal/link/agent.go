package link

import (
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

// agentPatience bounds how long the agent may take to say what it holds.
const agentPatience = 2 * time.Second

// agentIsEmpty says whether the agent that the way's ssh uses holds no key, or is
// not there. Without an agent there is none to be empty.
func (w *way) agentIsEmpty() bool {
	socket := os.Getenv("SSH_AUTH_SOCK")
	w.mu.Lock()
	for _, kv := range w.env {
		if value, ok := strings.CutPrefix(kv, "SSH_AUTH_SOCK="); ok {
			socket = value
		}
	}
	w.mu.Unlock()
	return socket != "" && agentKeys(socket) == 0
}

// agentKeys is how many keys the agent at socket offers: none if it is locked or
// does not answer.
func agentKeys(socket string) uint32 {
	conn, err := unixsock.Dial(socket)
	if err != nil {
		return 0
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(agentPatience))
	if _, err := conn.Write([]byte{0, 0, 0, 1, agentRequestIdentities}); err != nil {
		return 0
	}
	var head [9]byte // length, type, number of keys
	if _, err := io.ReadFull(conn, head[:]); err != nil || head[4] != agentIdentitiesAnswer {
		return 0
	}
	return binary.BigEndian.Uint32(head[5:])
}
