package laptop

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
	"keyway/internal/unixsock"
)

const (
	// sendAgain is the time after which unchanged keys are sent again: at the place they expire
	// after keyway.MaxEntry, and another laptop may have sent many.
	sendAgain = 7 * 24 * time.Hour
	// sendTimeout bounds how long a connection waits for them to be sent.
	sendTimeout = 10 * time.Second
	// holdTimeout bounds the time in which an agent must list its keys.
	holdTimeout = 2 * time.Second
)

// SendKeys lets today's keys enter a workspace, if the agent's keys have changed since they
// were last sent: a user that reaches the node is the owner. A failure does not end the
// connection: the earlier keys may still enter.
func (here *Laptop) SendKeys(ctx context.Context, node *api.Client, e sshconfig.Entry) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	holds := here.holds(ctx, e.Sent.Agent, e.Sent.Files)
	age := time.Since(e.Sent.At)
	if holds != "" && holds == e.Sent.Holds && age >= 0 && age < sendAgain {
		return
	}
	today, err := here.EntryKeys(ctx, e.Place, e.Keys)
	if err != nil || node.Admit(ctx, e.Name, today.withEnds()) != nil {
		return
	}
	_ = here.Hosts.Sent(e, here.sent(ctx, today)) // or the next time
}

// sent returns the record of keys that were sent.
func (here *Laptop) sent(ctx context.Context, e KeySet) sshconfig.Sent {
	return sshconfig.Sent{Holds: here.holds(ctx, e.Agent, e.Files), At: time.Now().UTC(), Agent: e.Agent, Files: e.Files}
}

// withEnds returns keys with the ends that their certificates give them.
func (e KeySet) withEnds() []keyway.EntryKey {
	var entries []keyway.EntryKey
	for _, k := range e.Keys {
		entries = append(entries, keyway.EntryKey{Line: k.Line(), Until: endOf(k, e.listed)})
	}
	return entries
}

// endOf returns the time at which a key expires: the latest end of its certificates. Zero leaves
// the time to the place, for a key without a certificate and one with a certificate without an end.
// The place's clock decides then, because this laptop's may be wrong.
func endOf(k PublicKey, held []PublicKey) time.Time {
	var end time.Time
	for _, h := range held {
		cert, ok := h.PublicKey.(*ssh.Certificate)
		if !ok || !k.is(cert.Key) {
			continue
		}
		if cert.ValidBefore > maxCertEnd {
			return time.Time{}
		}
		if until := time.Unix(int64(cert.ValidBefore), 0); until.After(end) {
			end = until
		}
	}
	return end
}

// maxCertEnd is the last end of a certificate that JSON has a date for, in seconds
// since 1970: 9999-01-01.
const maxCertEnd = 253_370_764_800

// holds identifies the available keys: those of keyway's agent, if it holds any; otherwise those of
// the agent that an entry names, or of the usual one; otherwise the files.
func (here *Laptop) holds(ctx context.Context, named string, files []string) (what string) {
	usual := cmp.Or(here.AgentSocket(), os.Getenv("SSH_AUTH_SOCK"))
	if named == "" || isSocket(here.agentPath()) {
		what = agentDigest(ctx, usual)
	}
	if what == "" && named != "" {
		what = agentDigest(ctx, named)
	}
	if what == "" && len(files) > 0 {
		what = "files"
	}
	return what
}

// agentDigest identifies the keys of the agent at socket; empty: it has none, or there is no agent.
func agentDigest(ctx context.Context, socket string) string {
	if socket == "" {
		return ""
	}
	conn, err := unixsock.Dial(socket)
	if err != nil {
		return ""
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(holdTimeout))
	keys, err := agent.NewClient(conn).List()
	if err != nil || len(keys) == 0 {
		return ""
	}
	var lines []string
	for _, k := range keys {
		lines = append(lines, k.String())
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])
}
