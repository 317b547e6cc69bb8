package link

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/internal/stream"
)

// dialer finds the paths of one stream: over the way to its place, which is
// brought up anew when it is down.
type dialer struct {
	way    *way
	name   keyway.Name
	begun  time.Time
	opened func() bool // the guest has answered once

	patience time.Duration // of the next attempt
}

// Dial makes one path. The path ends with the way, not with ctx.
func (d *dialer) Dial(ctx context.Context) (net.Conn, error) {
	c, err := d.reach(ctx)
	if err != nil {
		return nil, d.judge(err)
	}
	trusted := d.way.trust(c)
	conn, err := c.Dial(context.WithoutCancel(ctx), d.name)
	if err != nil {
		return nil, d.judge(err)
	}
	return newPath(trusted, conn, d), nil
}

// Bounds of the time in which a way has to come up: what it waits for may be gone
// since the laptop has changed networks. It doubles from attempt to attempt.
const (
	leastPatience = 15 * time.Second
	mostPatience  = 5 * time.Minute
)

// reach returns the connection of the way, brought up if need be.
func (d *dialer) reach(ctx context.Context) (*connection, error) {
	if err := d.way.awaitPerson(ctx); err != nil {
		return nil, err
	}
	d.patience = max(d.patience, leastPatience)
	limited, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	c, err := d.way.node(limited, nil, nil)
	switch {
	case err == nil:
		d.patience = 0
	case ctx.Err() == nil && limited.Err() != nil:
		err = keyway.Errorf(keyway.Unreachable, "%s does not answer within %v", d.way.place, d.patience)
		d.patience = min(2*d.patience, mostPatience)
	}
	return c, err
}

// personPause is how long nobody is asked again, if nobody has answered: a place
// that counts failed logins shall not shut its user out.
const personPause = 5 * time.Minute

// awaitPerson waits while bringing the way up would only ask nobody once more:
// until a command has brought it up or begun to, or for personPause.
func (w *way) awaitPerson(ctx context.Context) error {
	w.mu.Lock()
	pause := personPause - time.Since(w.unheard)
	if w.unheard.IsZero() || w.up != nil || w.attempt != nil || pause <= 0 {
		w.mu.Unlock()
		return nil
	}
	if w.risen == nil {
		w.risen = make(chan struct{})
	}
	risen := w.risen
	w.mu.Unlock()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-risen:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// hopeless are the errors that trying again does not cure: the stream ends, and
// the user hears of them at once.
var hopeless = []keyway.Kind{
	keyway.Denied, keyway.HostKeyChanged, keyway.HostKeyUnknown,
	keyway.VersionMismatch, keyway.NotFound, keyway.NotRunning,
}

// openPatience is how long somebody who has just called a guest waits for a way
// that breaks.
const openPatience = 30 * time.Second

// judge marks the errors that end a stream. One that was never opened has
// nothing to lose: its user wants to know what is wrong. For one that was, a
// locked agent or a question that nobody heard is a reason to wait: hours of
// copying shall not end because its user is at lunch.
func (d *dialer) judge(err error) error {
	var e *keyway.Error
	if !errors.As(err, &e) {
		return err
	}
	opened := d.opened()
	switch {
	case opened && e.Kind == keyway.Denied && d.way.agentIsEmpty():
		return keyway.Errorf(keyway.NoKey, "the agent holds no key; %skeyway unlock", waitsForPerson)
	case opened && e.Kind == keyway.NeedsAnswer:
		return keyway.Errorf(e.Kind, "%s; %skeyway status %s", e.Message, waitsForPerson, d.way.place)
	case slices.Contains(hopeless, e.Kind):
		return stream.Permanent(err)
	case !opened && (e.Kind != keyway.Unreachable || time.Since(d.begun) > openPatience):
		return stream.Permanent(err)
	}
	return err
}

// errPlain says that a guest answers as an SSH server, and not as one of
// streams: it is older than streams, or no guest of keyway's.
var errPlain = errors.New("the guest knows no streams")

// path is a connection to a guest. Its first Read may bring what the node has to
// say instead, or nothing, because its way is dead.
type path struct {
	net.Conn
	d       *dialer
	begun   bool // something has come
	trusted context.Context
	keep    func() bool // the way may be doubted, and this path goes on
}

func newPath(trusted context.Context, conn net.Conn, d *dialer) *path {
	return &path{Conn: conn, d: d, trusted: trusted, keep: context.AfterFunc(trusted, func() { conn.Close() })}
}

func (p *path) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if p.begun {
		return n, err
	}
	switch {
	case n > 0 && b[0] == 'S': // of SSH-2.0; no answer of a stream begins so
		return 0, stream.Permanent(errPlain)
	case n > 0:
		p.begun = true
		p.keep()
	case err != nil && p.trusted.Err() != nil:
		err = keyway.Errorf(keyway.Unreachable, "%s does not answer any more", p.d.way.place)
	case err != nil:
		err = p.d.judge(err)
	}
	return n, err
}

func (p *path) Close() error {
	p.keep()
	return p.Conn.Close()
}

// parseHostKey reads a key as it stands in known_hosts. Streams need an Ed25519
// key; nil stands for any other.
func parseHostKey(text string) ed25519.PublicKey {
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil || len(options) > 0 || len(rest) > 0 {
		return nil
	}
	crypto, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil
	}
	public, _ := crypto.CryptoPublicKey().(ed25519.PublicKey)
	return public
}

// inWords is a stream's end in the user's words.
func (c *carried) inWords(err error) error {
	var e *keyway.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, stream.ErrHostKey):
		return keyway.Errorf(keyway.HostKeyChanged, "whoever answers as %s does not hold its host key", c.name).
			Hint("somebody may be in between. If you know that it was made anew: keyway forget %s, then keyway add %s/%[1]s", c.name, c.way.place)
	case errors.Is(err, stream.ErrUnknown):
		return keyway.Errorf(keyway.GuestFailed, "the guest of %s was restarted meanwhile, which ended this connection", c.name).
			Hint("jobs and terminals go on: ssh %s, keyway attach %s", c.name, c.name)
	case errors.Is(err, stream.ErrExpired):
		return keyway.Errorf(keyway.GuestFailed, "the guest of %s has given this connection up (%w)", c.name, err).
			Hint("jobs and terminals go on: ssh %s, keyway attach %s", c.name, c.name)
	case errors.Is(err, stream.ErrGaveUp):
		return keyway.Errorf(keyway.Unreachable, "%s could not be reached: %w", c.way.place, err)
	case errors.Is(err, errPlain):
		return keyway.Errorf(keyway.VersionMismatch, "the guest of %s is another one now, and knows nothing of this connection", c.name)
	}
	return keyway.Errorf(keyway.Other, "the connection to %s ended: %w", c.name, err)
}
