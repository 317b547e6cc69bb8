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

// dialer makes the paths of one stream over the uplink to its place. If the uplink is down, it
// brings it up again.
type dialer struct {
	uplink *uplink
	name   keyway.Name
	begun  time.Time
	opened func() bool // the guest has answered once
	// hostKey is the guest's; nil if none is expected.
	hostKey ed25519.PublicKey
	help    func(*keyway.Error) // receives advice for a person about a stream that waits; may be nil

	timeout time.Duration // of the next attempt
	gone    time.Time     // time since which the node has reported, each time, that the workspace is gone
}

// Dial makes one path. The path ends with the uplink, not with ctx.
func (d *dialer) Dial(ctx context.Context) (net.Conn, error) {
	c, err := d.reach(ctx)
	if err != nil {
		return nil, d.judge(err)
	}
	trusted := d.uplink.trust(c)
	conn, err := c.Dial(context.WithoutCancel(ctx), d.name)
	if err != nil {
		return nil, d.judge(err)
	}
	return newPath(trusted, conn, d), nil
}

// Bounds on the time for an uplink to come up: the network that it waits for may be gone since the
// laptop has changed networks. The time doubles from attempt to attempt.
const (
	leastTimeout = 15 * time.Second
	mostTimeout  = 5 * time.Minute
)

// reach returns the connection of the uplink. If it is down, it brings it up.
func (d *dialer) reach(ctx context.Context) (*connection, error) {
	if d.opened() {
		if err := d.uplink.awaitRetry(ctx); err != nil {
			return nil, err
		}
	}
	d.timeout = max(d.timeout, leastTimeout)
	timeout := d.timeout
	if !d.opened() {
		timeout = min(timeout, time.Until(d.begun.Add(openTimeout)))
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := d.uplink.node(limited, nil, nil)
	switch {
	case err == nil:
		d.timeout = 0
	case ctx.Err() == nil && limited.Err() != nil:
		d.timeout = min(2*d.timeout, mostTimeout)
	}
	return c, err
}

// hopeless are errors that an immediate retry does not cure. A stream that was never opened ends
// with them, so that its user learns of them at once.
var hopeless = []keyway.Kind{
	keyway.Denied, keyway.HostKeyChanged, keyway.HostKeyUnknown,
	keyway.VersionMismatch, keyway.NotFound, keyway.NotRunning,
}

const (
	// openTimeout is the time that a stream that has not been opened yet waits for an uplink that
	// breaks.
	openTimeout = 30 * time.Second
	// goneTime is the time for which a node must report that a workspace is gone, or does not
	// run, before a stream believes it.
	goneTime = 10 * time.Second
	// lookTime bounds the time in which the node tells a stream about its workspace. Without an
	// answer, the stream dials again.
	lookTime = 30 * time.Second
)

// judge marks the errors that end a stream. A stream that was never opened ends with any of them,
// so that its user learns the reason. An open stream ends only at the word of its guest, which
// alone has proved its identity. A message of a host on the route describes only the present
// moment: accounts may be unavailable, the agent locked, or the user away. The node, which runs the
// workspace, is believed that the workspace is gone if it has reported nothing else for a while.
func (d *dialer) judge(err error) error {
	var e *keyway.Error
	if !errors.As(err, &e) {
		return err
	}
	if d.opened() {
		d.tell(whatHelps(e.Kind, d.uplink.place))
		return d.judgeOpened(e)
	}
	if slices.Contains(hopeless, e.Kind) || e.Kind != keyway.Unreachable || time.Since(d.begun) >= openTimeout {
		return stream.Permanent(err)
	}
	return keyway.Quoted(err) // the reason for which the stream waits is shown
}

func (d *dialer) tell(help *keyway.Error) {
	if d.help != nil {
		d.help(help)
	}
}

func (d *dialer) judgeOpened(e *keyway.Error) error {
	if e.Kind != keyway.NotFound && e.Kind != keyway.NotRunning {
		d.gone = time.Time{}
		return keyway.Quoted(e)
	}
	return d.believe(e)
}

// Stranger is called when the answering peer does not hold the guest's host key. It may be a man in
// the middle, but waiting gains him nothing. If the node has another host key for the workspace,
// the workspace was removed and made again, and the stream's other end is gone.
func (d *dialer) Stranger(ctx context.Context) error {
	c, err := d.reach(ctx)
	if err != nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	list, err := c.List(limited)
	i := slices.IndexFunc(list.Workspaces, func(w keyway.Workspace) bool { return w.Name == d.name })
	if err != nil || i < 0 {
		return nil
	}
	now := parseHostKey(list.Workspaces[i].Guest.HostKey)
	if now == nil || now.Equal(d.hostKey) {
		return nil
	}
	return d.believe(keyway.Errorf(keyway.HostKeyChanged, "%s was removed, and made again: its host key is another", d.name).
		Advise(keyway.AskWhoMadeIt, d.uplink.place.Of(d.name)))
}

// believe ends the stream with e, if the node has reported it for a while.
func (d *dialer) believe(e *keyway.Error) error {
	if d.gone.IsZero() {
		d.gone = time.Now()
	}
	if time.Since(d.gone) >= goneTime {
		return stream.Permanent(e)
	}
	return keyway.Quoted(e)
}

// whatHelps returns advice for a person about a stream that waits; without advice if one can only
// wait.
func whatHelps(kind keyway.Kind, place keyway.Place) *keyway.Error {
	help := keyway.Errorf(kind, "the stream waits")
	switch kind {
	case keyway.NoKey:
		return help.Advise(keyway.UnlockNow)
	case keyway.Unreachable, keyway.NotFound, keyway.NotRunning, keyway.Interrupted:
		return help
	}
	return help.Advise(keyway.StatusNow, string(place))
}

// errPlain means that a guest answers as an SSH server and not with a stream: it is older than
// streams, or not a guest of keyway's.
var errPlain = errors.New("the guest does not support streams")

// path is a connection to a guest. Its first Read may return an error message of the node instead
// of the guest's bytes, or nothing, because its uplink is dead.
type path struct {
	net.Conn
	d       *dialer
	begun   bool // a byte has arrived
	trusted context.Context
	keep    func() bool // from now on, the path outlives trusted; false if it has ended
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
	case n > 0 && b[0] == 'S' && !p.d.opened(): // the start of SSH-2.0; no answer of a stream begins with S
		return 0, stream.Permanent(errPlain)
	case n > 0 && b[0] == 'S':
		return 0, errPlain // for the moment; the guest of this stream has not said so
	case n > 0:
		p.begun = true
		p.d.tell(nil)
		p.keep()
	case err != nil && p.trusted.Err() != nil:
		err = keyway.Errorf(keyway.Unreachable, "%s does not answer any more", p.d.uplink.place)
	case errors.Is(err, context.Canceled): // closed by the stream, which has waited for the time of a handshake
		err = p.d.judge(keyway.Errorf(keyway.Unreachable, "the node at %s does not connect to %s, and gives no reason: something hangs there", p.d.uplink.place, p.d.name).
			Advise(keyway.SeePlace, string(p.d.uplink.place)))
	case err != nil:
		err = p.d.judge(err)
	}
	return n, err
}

func (p *path) Close() error {
	p.keep()
	return p.Conn.Close()
}

// parseHostKey parses a key in the form of known_hosts. Streams need an Ed25519 key; for any other,
// it returns nil.
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

// inWords explains to the user why a stream has ended.
func (c *proxied) inWords(err error) error {
	var e *keyway.Error
	switch {
	case errors.As(err, &e):
		return c.withAdvice(e)
	case errors.Is(err, stream.ErrHostKey):
		return keyway.Errorf(keyway.HostKeyChanged, "the workspace that answers as %s does not hold its host key", c.name).
			Advise(keyway.ForgetAndAdd, c.uplink.place.Of(c.name))
	case errors.Is(err, stream.ErrUnknown):
		return keyway.Errorf(keyway.GuestFailed, "the guest of %s was restarted meanwhile, which ended this connection", c.name).
			Advise(keyway.JobsGoOn, c.uplink.place.Of(c.name))
	case errors.Is(err, stream.ErrExpired):
		return keyway.Errorf(keyway.GuestFailed, "the guest of %s has given this connection up (%w)", c.name, err).
			Advise(keyway.JobsGoOn, c.uplink.place.Of(c.name))
	case errors.Is(err, stream.ErrGaveUp):
		return keyway.Errorf(keyway.Unreachable, "%s could not be reached: %w", c.uplink.place, err)
	case errors.Is(err, errPlain):
		return keyway.Errorf(keyway.VersionMismatch, "the guest of %s is another one now, and does not know this connection", c.name)
	}
	return keyway.Errorf(keyway.Other, "the connection to %s ended: %w", c.name, err)
}

// withAdvice returns e with the next command to type, where this laptop knows it better than the
// place.
func (c *proxied) withAdvice(e *keyway.Error) error {
	if e.Host == "" {
		return e
	}
	with := *e
	switch e.Kind {
	case keyway.NotRunning:
		with = *keyway.Errorf(e.Kind, "the workspace %s does not run%s", c.name, quoted(string(e.Host), e.Message)).Advise(keyway.StartNow, c.uplink.place.Of(c.name))
	case keyway.NotFound:
		with = *keyway.Errorf(e.Kind, "the workspace %s is not there%s", c.name, quoted(string(e.Host), e.Message)).Advise(keyway.ListWorkspaces)
	}
	return &with
}
