package link

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"keyway/internal/unixsock"
)

// From the agent's protocol (draft-ietf-sshm-ssh-agent, section 6.1).
const (
	agentRequestIdentities = 11
	agentIdentitiesAnswer  = 12
)

const (
	// agentTimeout bounds the time for the agent to list its keys.
	agentTimeout = 2 * time.Second
	// agentNotice is the time after which an agent counts as silent in a report to a command, which
	// may wait no longer itself.
	agentNotice = time.Second / 2
)

// agentIsEmpty reports whether the uplink's ssh uses an agent, and none of its agents runs and
// holds a key.
func (u *uplink) agentIsEmpty() bool {
	agents := u.agentHolds()
	return len(agents) > 0 && !slices.ContainsFunc(agents, func(h held) bool { return h.count > 0 })
}

// agentHolds returns the present keys of each of these agents.
func (u *uplink) agentHolds() (all []held) {
	for _, socket := range u.agentSockets() {
		all = append(all, agentKeys(socket, agentTimeout))
	}
	return all
}

func (u *uplink) agentSockets() (sockets []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	usual := os.Getenv("SSH_AUTH_SOCK")
	for _, kv := range u.env {
		if value, ok := strings.CutPrefix(kv, "SSH_AUTH_SOCK="); ok {
			usual = value
		}
	}
	agents := u.agents
	if agents == nil {
		agents = []string{""}
	}
	for _, socket := range agents {
		if socket = cmp.Or(socket, usual); socket != "" {
			sockets = append(sockets, socket)
		}
	}
	return sockets
}

// silentAgent returns the socket of an agent that the uplink's ssh use and that does not answer, or
// "".
func (u *uplink) silentAgent() string {
	for _, socket := range u.agentSockets() {
		if agentKeys(socket, agentNotice).hangs {
			return socket
		}
	}
	return ""
}

// AgentHangs reports whether the agent at socket accepts connections and does not answer.
func AgentHangs(socket string) bool { return agentKeys(socket, agentNotice).hangs }

// held is the number of keys that an agent holds, and a digest of them.
type held struct {
	count uint32
	which [sha256.Size]byte
	hangs bool // it has not answered in time
}

// maxHeld bounds an agent's answer, in bytes.
const maxHeld = 1 << 20

// agentKeys returns the keys of the agent at socket. A locked agent, and one that does not answer in
// time, has none.
func agentKeys(socket string, limit time.Duration) (h held) {
	conn, err := unixsock.Dial(socket)
	if err != nil {
		return held{}
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(limit))
	if _, err := conn.Write([]byte{0, 0, 0, 1, agentRequestIdentities}); err != nil {
		return held{}
	}
	var head [9]byte // length, type, number of keys
	if _, err := io.ReadFull(conn, head[:]); err != nil || head[4] != agentIdentitiesAnswer {
		return held{hangs: errors.Is(err, os.ErrDeadlineExceeded)}
	}
	sum := sha256.New()
	length := int64(binary.BigEndian.Uint32(head[:])) - int64(len(head)-4)
	_, _ = io.Copy(sum, io.LimitReader(conn, min(max(length, 0), maxHeld)))
	h.count = binary.BigEndian.Uint32(head[5:])
	sum.Sum(h.which[:0])
	return h
}
