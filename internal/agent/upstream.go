package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/audit"
	"keyway/internal/identity"
	"keyway/internal/sshwire"
)

// upstreamWithin bounds the requests for which the upstream does not ask a user.
const upstreamWithin = 10 * time.Second

// upstream is the connection to another agent that belongs to one connection. A shared one would
// mix the proved hosts of several connections: the upstream gets those of this connection, so that
// it can enforce its own constraints.
type upstream struct {
	path   string
	client *Client // nil: not connected
	told   int     // binds that were sent to the upstream
	keys   []*held // when it was asked last
}

func (u *upstream) close() {
	if u.client != nil {
		u.client.Close()
	}
	u.client, u.told = nil, 0
}

// exchange relays a request. If the upstream was restarted since the last one, it connects again.
func (u *upstream) exchange(ctx context.Context, binds []bind, request []byte) ([]byte, error) {
	reached := u.client != nil
	answer, err := u.try(ctx, binds, request)
	if err != nil && reached && ctx.Err() == nil {
		u.close()
		answer, err = u.try(ctx, binds, request)
	}
	if err != nil {
		u.close()
		return nil, fmt.Errorf("the agent at %s: %w", u.path, err)
	}
	return answer, nil
}

func (u *upstream) try(ctx context.Context, binds []bind, request []byte) (answer []byte, err error) {
	if u.client == nil {
		if u.client, err = dialUpstream(u.path); err != nil {
			return nil, err
		}
	}
	for _, b := range binds[u.told:] {
		message := append(sshwire.AppendString([]byte{msgExtension}, extSessionBind), b.message...)
		// It may be locked, or not know binds. This agent's own refusals do not depend on it.
		if _, err := u.client.exchange(ctx, message); err != nil {
			return nil, err
		}
		u.told++
	}
	return u.client.exchange(ctx, request)
}

// dialUpstream refuses agents of other users, and ourselves.
func dialUpstream(path string) (*Client, error) {
	c, err := Dial(path)
	if err != nil {
		return nil, err
	}
	p, err := peerOf(c.conn)
	if err == nil && p.known && p.pid == os.Getpid() {
		err = errors.New("it is this agent itself")
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *connection) upstreamPath() string {
	if c.agent.config.Upstream == nil {
		return ""
	}
	return c.agent.config.Upstream()
}

// relay sends a request upstream, and says in the log when the upstream goes and
// comes.
func (c *connection) relay(ctx context.Context, request []byte) ([]byte, error) {
	if path := c.upstreamPath(); path != c.up.path {
		c.up.close()
		c.up = upstream{path: path}
	}
	answer, err := c.up.exchange(ctx, c.route.binds, request)
	switch down := err != nil; {
	case ctx.Err() != nil: // the client has gone, not the upstream
	case down && !c.agent.upstreamDown.Swap(true):
		c.agent.note(audit.Event{Event: audit.Upstream, Verdict: audit.Failed, Reason: err.Error()})
	case !down && c.agent.upstreamDown.Swap(false):
		c.agent.note(audit.Event{Event: audit.Upstream, Reason: "the agent at " + c.up.path + " answers again"})
	}
	return answer, err
}

// upstreamKeys returns the upstream's keys that this agent does not hold itself. It returns none
// if the upstream does not answer, or this agent is locked.
func (c *connection) upstreamKeys(ctx context.Context) []*held {
	if c.upstreamPath() == "" || c.agent.keys.isLocked() {
		c.up.close()
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, upstreamWithin)
	defer cancel()
	answer, err := c.relay(limited, []byte{msgList})
	if err == nil {
		c.up.keys, err = parseList(answer, c.up.path)
	}
	if err != nil {
		c.agent.config.Logf("connection %d: %v", c.number, err)
		return nil
	}
	c.up.keys = slices.DeleteFunc(c.up.keys, func(h *held) bool {
		_, err := c.agent.keys.find(h.key.Blob)
		return err == nil
	})
	return slices.Clone(c.up.keys)
}

// parseList reads SSH_AGENT_IDENTITIES_ANSWER (RFC 9987 section 3.5). A key
// that this agent cannot judge is left out.
func parseList(answer []byte, path string) ([]*held, error) {
	r := sshwire.NewReader(answer)
	if r.Byte() != msgIdentities {
		return nil, errors.New("the upstream does not list its keys")
	}
	var keys []*held
	for range min(r.Uint32(), maxKeys) {
		blob, comment := r.String(), r.Text()
		if r.Err() != nil {
			return nil, r.Err()
		}
		key, err := identity.Foreign(blob, comment[:min(len(comment), maxText)])
		if err != nil {
			continue
		}
		keys = append(keys, &held{key: key, shared: true, upstream: path})
	}
	return keys, nil
}

// find returns the key with a public half, from this agent or the upstream.
func (c *connection) find(ctx context.Context, blob []byte) (*held, error) {
	h, err := c.agent.keys.find(blob)
	if !errors.Is(err, errNoKey) || blob == nil || c.upstreamPath() == "" {
		return h, err
	}
	is := func(h *held) bool { return bytes.Equal(h.key.Blob, blob) }
	if c.upstreamPath() == c.up.path {
		if i := slices.IndexFunc(c.up.keys, is); i >= 0 {
			return c.up.keys[i], nil
		}
	}
	keys := c.upstreamKeys(ctx)
	if i := slices.IndexFunc(keys, is); i >= 0 {
		return keys[i], nil
	}
	return nil, errNoKey
}

// signUpstream has the upstream sign. The upstream may ask the user in its own way; the request
// ends when the asker hangs up.
func (c *connection) signUpstream(ctx context.Context, h *held, data []byte, flags uint32) (*ssh.Signature, error) {
	watched, stop := c.watch(ctx)
	defer stop()
	limited, cancel := context.WithTimeout(watched, signWithin)
	defer cancel()
	request := sshwire.AppendString(sshwire.AppendString([]byte{msgSign}, h.key.Blob), data)
	answer, err := c.relay(limited, sshwire.AppendUint32(request, flags))
	if err != nil {
		return nil, err
	}
	r := sshwire.NewReader(answer)
	kind, blob := r.Byte(), r.String()
	if kind != msgSignature || r.End() != nil {
		return nil, fmt.Errorf("the agent at %s did not sign", h.upstream)
	}
	return identity.ParseSignature(blob)
}

func (c *connection) removeUpstream(ctx context.Context, h *held) error {
	return c.command(ctx, sshwire.AppendString([]byte{msgRemove}, h.key.Blob))
}

// removeAllUpstream removes the upstream's keys and reports the result.
func (c *connection) removeAllUpstream(ctx context.Context) string {
	if err := c.command(ctx, []byte{msgRemoveAll}); err != nil {
		return err.Error()
	}
	return "the agent at " + c.up.path + " did, too"
}

// command relays a request that is answered with yes or no.
func (c *connection) command(ctx context.Context, request []byte) error {
	limited, cancel := context.WithTimeout(ctx, upstreamWithin)
	defer cancel()
	answer, err := c.relay(limited, request)
	if err == nil && (len(answer) != 1 || answer[0] != msgSuccess) {
		err = fmt.Errorf("the agent at %s refused", c.up.path)
	}
	c.up.keys = nil
	return err
}
