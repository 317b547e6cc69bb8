package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/audit"
	"keyway/internal/identity"
	"keyway/internal/sleep"
	"keyway/internal/sshwire"
)

// add handles SSH_AGENTC_ADD_IDENTITY and its constrained form (RFC 9987 section 3.2).
func (c *connection) add(r *sshwire.Reader) (done audit.Event, err error) {
	key, err := identity.ReadPrivate(r)
	if err != nil {
		return done, err
	}
	h, err := c.constrained(key, r)
	if err == nil {
		c.agent.used()
		err = c.agent.keys.add(h, c.visible)
	}
	if err != nil {
		key.Destroy()
		return done, err
	}
	return audit.Event{Reason: c.agent.describe(h), Request: audit.Request{Key: key.Fingerprint, Comment: key.Comment}}, nil
}

func (c *connection) visible(h *held) bool { return visible(c.route, h, time.Now()) }

// constrained reads what follows a key: its comment and its constraints.
func (c *connection) constrained(key *identity.Key, r *sshwire.Reader) (*held, error) {
	if key.Comment = r.Text(); len(key.Comment) > maxText {
		return nil, errors.New("the key's comment is too long")
	}
	constraints, err := parseConstraints(r, false)
	if err != nil {
		return nil, err
	}
	if constraints.provider != "" {
		if err := c.setProvider(key, constraints.provider); err != nil {
			return nil, err
		}
	}
	return c.agent.hold(key, constraints), nil
}

// internalProvider is OpenSSH's own middleware for security keys; it is no path.
const internalProvider = "internal"

func (c *connection) setProvider(key *identity.Key, provider string) error {
	if provider != internalProvider {
		path, err := providerPath(provider)
		if err != nil {
			return err
		}
		if !c.agent.mayLoad(path) {
			return fmt.Errorf("the provider %s is in none of the permitted places", path)
		}
		provider = path
	}
	return key.SetProvider(provider)
}

// hold puts constraints on a key.
func (a *Agent) hold(key *identity.Key, c constraints) *held {
	h := &held{
		key: key, confirm: c.confirm, destinations: c.destinations, restriction: c.restriction,
		limited: c.maxSigns > 0, signsLeft: c.maxSigns,
	}
	life := c.lifetime
	if life == 0 {
		life = a.config.Lifetime
	}
	if life != 0 {
		h.dies = a.config.uptime() + life
	}
	return h
}

func (a *Agent) describe(h *held) string {
	text := "added"
	if dies, _, _ := a.keys.limits(h); dies != 0 {
		text += fmt.Sprintf(" for %v", (dies - a.config.uptime()).Round(time.Second))
	}
	if h.confirm {
		text += ", each use to be confirmed"
	}
	if n := len(h.destinations); n > 0 {
		text += fmt.Sprintf(", for %d destinations", n)
	}
	return text
}

// remove handles SSH_AGENTC_REMOVE_IDENTITY (RFC 9987 section 3.4).
func (c *connection) remove(ctx context.Context, r *sshwire.Reader) (audit.Event, error) {
	blob := canonical(r.String())
	if err := r.End(); err != nil || blob == nil {
		return audit.Event{}, errors.New("a key to remove that cannot be read")
	}
	h, err := c.find(ctx, blob)
	if err != nil {
		return audit.Event{}, err
	}
	if h.upstream != "" {
		return audit.Event{Reason: "removed from " + h.upstream, Request: audit.Request{Key: h.key.Fingerprint, Comment: h.key.Comment}}, c.removeUpstream(ctx, h)
	}
	n, err := c.agent.keys.remove(func(other *held) bool { return other == h && c.visible(h) })
	if err == nil && n == 0 {
		err = errNoKey
	}
	return audit.Event{Reason: "removed", Request: audit.Request{Key: h.key.Fingerprint, Comment: h.key.Comment}}, err
}

// removeAll asks the upstream for the same, which may have its own mind.
func (c *connection) removeAll(ctx context.Context) (audit.Event, error) {
	n, err := c.agent.keys.remove(func(*held) bool { return true })
	done := audit.Event{Reason: fmt.Sprintf("removed all %d", n)}
	if err == nil && c.upstreamPath() != "" {
		done.Reason += ", and " + c.removeAllUpstream(ctx)
	}
	return done, err
}

// lock handles SSH_AGENTC_LOCK (RFC 9987 section 3.7).
func (c *connection) lock(r *sshwire.Reader) (audit.Event, error) {
	password := r.String()
	if err := r.End(); err != nil {
		return audit.Event{}, err
	}
	return audit.Event{Reason: "locked"}, c.agent.keys.lock(password)
}

func (c *connection) unlock(ctx context.Context, r *sshwire.Reader) (audit.Event, error) {
	password := r.String()
	if err := r.End(); err != nil {
		return audit.Event{}, err
	}
	err := c.agent.keys.unlock(password, func(d time.Duration) { _ = sleep.For(ctx, d) })
	return audit.Event{Reason: "unlocked"}, err
}

// addCard handles SSH_AGENTC_ADD_SMARTCARD_KEY and its constrained form (RFC 9987 section 3.3).
func (c *connection) addCard(ctx context.Context, r *sshwire.Reader) (done audit.Event, err error) {
	provider, pin := r.Text(), r.String()
	if r.Err() != nil || len(provider) > maxText {
		return done, errors.New("a provider that cannot be read")
	}
	constraints, err := parseConstraints(r, true)
	if err != nil {
		return done, err
	}
	if c.agent.keys.isLocked() {
		return done, errLocked
	}
	path, err := providerPath(provider)
	if err != nil {
		return done, err
	}
	if !c.agent.mayLoad(path) {
		return done, fmt.Errorf("the provider %s is in none of the permitted places", path)
	}
	card, keys, err := identity.OpenCard(ctx, path, pin)
	if err != nil {
		return done, err
	}
	c.agent.used()
	n := c.takeCard(keys, constraints)
	if n == 0 {
		card.Close()
		return done, errors.New("none of the card's keys could be added")
	}
	c.agent.keys.addCard(path, card)
	return audit.Event{Reason: fmt.Sprintf("loaded %s with %d keys", path, n), Request: audit.Request{Comment: path}}, nil
}

// takeCard adds a card's keys, with the certificates that came for them. A key that the agent
// already holds stays unchanged, as with ssh-agent.
func (c *connection) takeCard(keys []*identity.Key, constraints constraints) int {
	n := 0
	take := func(key *identity.Key) {
		h := c.agent.hold(key, constraints)
		h.shared = true
		stale := func(old *held) bool { return old.shared && old.key.Provider == key.Provider && c.visible(old) }
		if c.agent.keys.add(h, stale) == nil {
			n++
		}
	}
	for _, key := range keys {
		for _, cert := range certsFor(key, constraints.certs) {
			if with, err := key.WithCertificate(cert); err == nil {
				take(with)
			}
		}
		if !constraints.certsOnly {
			take(key)
		}
	}
	return n
}

func certsFor(key *identity.Key, certs []*ssh.Certificate) []*ssh.Certificate {
	return slices.DeleteFunc(slices.Clone(certs), func(cert *ssh.Certificate) bool {
		return identity.Fingerprint(cert) != key.Fingerprint
	})
}

func (c *connection) removeCard(r *sshwire.Reader) (audit.Event, error) {
	provider := r.Text()
	r.String() // a PIN that is not needed
	if err := r.End(); err != nil {
		return audit.Event{}, err
	}
	path, err := providerPath(provider)
	if err != nil {
		return audit.Event{}, err
	}
	return audit.Event{Reason: "unloaded " + path, Request: audit.Request{Comment: path}}, c.agent.keys.removeCard(path)
}
