package daemon

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
)

// Client talks to one daemon. Beside its own methods it has those of the Engine API.
type Client struct {
	*client.Client
	at     endpoint
	around surroundings

	mu       sync.Mutex
	name     string    // docker or podman: what was asked for, until the daemon has identified itself
	signed   string    // how the daemon signed its last answer: who it is, in which version; may be empty
	known    *Identity // its version, not its name; nil until somebody has answered
	knownBy  string    // signed at that time
	rootless *bool     // of Podman: whether it runs as its user; nil until it was asked
}

// Options say which daemon to talk to.
type Options struct {
	Podman bool   // look for Podman's socket instead of Docker's
	Host   string // where the daemon listens, written as in DOCKER_HOST; empty: look for it
}

// greeting is how long New waits for a daemon to say who it is; one that runs
// takes a few milliseconds.
const greeting = 2 * time.Second

// New makes a client. It fails if the configuration that names the daemon cannot be used.
// It does not connect to the daemon; Probe does.
func New(o Options) (*Client, error) {
	c := &Client{around: here(), name: nameDocker}
	if o.Podman {
		c.name = namePodman
	}
	var err error
	switch {
	case o.Host != "":
		c.at = endpoint{host: o.Host, from: "the given address"}
	case o.Podman:
		c.at = c.around.podman()
	default:
		c.at, err = c.around.docker()
	}
	if err != nil {
		return nil, err
	}
	if c.Client, err = connect(c.at, c.hear); err != nil {
		return nil, err
	}
	// Docker's socket may be Podman's in truth, and the engine is to be called by
	// its right name from the start. That nobody answers is for Probe to say.
	ctx, cancel := context.WithTimeout(context.Background(), greeting)
	defer cancel()
	_, _ = c.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}) // which is once for all
	return c, nil
}

// hear learns from the header of an answer who sent it. Podman puts one of its own
// on all of them, also on that to a ping, which it gives at once: to say its
// version it asks its helpers first, 0.2 s, or seconds on a busy machine. Neither
// puts any on an answer that becomes a stream.
func (c *Client) hear(answer *http.Response) {
	if answer.Header.Get("Api-Version") == "" && answer.Header.Get("Libpod-Api-Version") == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name, c.signed = nameDocker, answer.Header.Get("Server")
	if !strings.HasPrefix(c.signed, "Docker/") { // it is of a proxy's before the daemon
		c.signed = ""
	}
	if libpod := answer.Header.Get("Libpod-Api-Version"); libpod != "" {
		c.name, c.signed = namePodman, "Podman/"+libpod
	}
}

// Name is docker or podman.
func (c *Client) Name() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

// Probe asks the daemon anew to identify itself. The error says why no daemon answers.
// One that was identified before is only pinged, as the answer to a ping names its
// version: for the whole of it Docker starts two programs.
func (c *Client) Probe(ctx context.Context) error {
	if c.same(ctx) {
		return nil
	}
	c.mu.Lock()
	c.known, c.rootless = nil, nil // the daemon may be another one by now, or none
	c.mu.Unlock()
	_, err := c.Identify(ctx)
	return err
}

// same reports whether the daemon that was identified answers, in the same version.
func (c *Client) same(ctx context.Context) bool {
	c.mu.Lock()
	by := c.knownBy
	known := c.known != nil && by != ""
	c.mu.Unlock()
	if !known {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, greeting)
	defer cancel()
	_, err := c.Ping(ctx, client.PingOptions{})
	c.mu.Lock()
	defer c.mu.Unlock()
	return err == nil && c.signed == by
}

// Identify returns who answers at the daemon's address. It asks once, and remembers the
// answer until Probe. The error says why no daemon answers.
func (c *Client) Identify(ctx context.Context) (Identity, error) {
	c.mu.Lock()
	known := c.known
	c.mu.Unlock()
	if known != nil {
		return c.Known(), nil
	}
	timed, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	d, err := identify(timed, c.Client)
	if ctx.Err() != nil {
		return Identity{}, ctx.Err()
	}
	if err != nil {
		return Identity{}, c.Unusable(err)
	}
	c.mu.Lock()
	c.known, c.knownBy = &d, c.signed
	c.mu.Unlock()
	return c.Known(), nil
}
