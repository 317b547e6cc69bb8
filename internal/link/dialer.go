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
}

// Dial makes one path. The path ends with the way, not with ctx.
func (d *dialer) Dial(ctx context.Context) (net.Conn, error) {
	node, err := d.way.node(ctx, nil, nil)
	if err != nil {
		return nil, d.judge(err)
	}
	conn, err := node.Dial(context.WithoutCancel(ctx), d.name)
	if err != nil {
		return nil, d.judge(err)
	}
	return &path{Conn: conn, judge: d.judge}, nil
}

// hopeless are the errors that trying again does not cure: the stream ends, and
// the user hears of them at once.
var hopeless = []keyway.Kind{
	keyway.Denied, keyway.HostKeyChanged, keyway.HostKeyUnknown, keyway.NeedsAnswer,
	keyway.VersionMismatch, keyway.NotFound, keyway.NotRunning,
}

// openPatience is how long somebody who has just called a guest waits for a way
// that breaks.
const openPatience = 30 * time.Second

// judge marks the errors that end a stream. One that was never opened has
// nothing to lose: its user wants to know what is wrong.
func (d *dialer) judge(err error) error {
	var e *keyway.Error
	switch {
	case !errors.As(err, &e):
		return err
	case slices.Contains(hopeless, e.Kind):
		return stream.Permanent(err)
	case !d.opened() && (e.Kind != keyway.Unreachable || time.Since(d.begun) > openPatience):
		return stream.Permanent(err)
	}
	return err
}

// errPlain says that a guest answers as an SSH server, and not as one of
// streams: it is older than streams, or no guest of keyway's.
var errPlain = errors.New("the guest knows no streams")

// path is a connection to a guest. Its first Read may bring what the node has to
// say instead.
type path struct {
	net.Conn
	judge func(error) error
	begun bool // something has come
}

func (p *path) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if n > 0 && !p.begun && b[0] == 'S' { // of SSH-2.0; no answer of a stream begins so
		return 0, stream.Permanent(errPlain)
	}
	if err != nil && !p.begun {
		err = p.judge(err)
	}
	p.begun = p.begun || n > 0
	return n, err
}

// parseHostKey reads a key as it stands in known_hosts. Streams need an Ed25519
// key; nil stands for any other.
func parseHostKey(text string) ed25519.PublicKey {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
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
			Hint("somebody may be in between. If the workspace was made anew elsewhere: keyway ls")
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
