package daemon

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
)

// Client is a client of one daemon. Besides its own methods, it has those of the Engine API.
type Client struct {
	*client.Client
	at     endpoint
	around surroundings

	mu       sync.Mutex
	name     string    // docker or podman: the requested one, until the daemon has identified itself
	signed   string    // the daemon's signature in its last answer: name and version; may be empty
	known    *Identity // its version, not its name; nil until a daemon has answered
	knownBy  string    // signed at that time
	rootless *bool     // whether Podman runs as its user; nil until asked
}

// Options say which daemon to talk to.
type Options struct {
	Podman bool   // look for Podman's socket instead of Docker's
	Host   string // address of the daemon, as in DOCKER_HOST; empty: look for it
}

// greeting is the time that New waits for a daemon to identify itself. A running one takes a few
// milliseconds.
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
	// Docker's socket may belong to Podman, and the engine must have the right name from the start.
	// If no daemon answers, Probe reports it.
	ctx, cancel := context.WithTimeout(context.Background(), greeting)
	defer cancel()
	_, _ = c.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}) // negotiates the version once for all
	return c, nil
}

// hear learns from the header of an answer which program sent it. Podman sets a header of its own
// on all answers, including that to a ping, which it sends at once: for its version it first asks
// its helpers, which takes 0.2 s, or seconds on a busy machine. Neither daemon sets a header on an
// answer that becomes a stream.
func (c *Client) hear(answer *http.Response) {
	if answer.Header.Get("Api-Version") == "" && answer.Header.Get("Libpod-Api-Version") == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name, c.signed = nameDocker, answer.Header.Get("Server")
	if !strings.HasPrefix(c.signed, "Docker/") { // the header of a proxy in front of the daemon
		c.signed = ""
	}
	if libpod := answer.Header.Get("Libpod-Api-Version"); libpod != "" {
		c.name, c.signed = namePodman, "Podman/"+libpod
	}
}

// Name returns docker or podman.
func (c *Client) Name() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

// Probe asks the daemon again to identify itself. The error says why no daemon answers. A daemon
// that was identified before is only pinged, because the answer to a ping has its version: for a
// full identification, Docker starts two programs.
func (c *Client) Probe(ctx context.Context) error {
	if c.same(ctx) {
		return nil
	}
	c.mu.Lock()
	c.known, c.rootless = nil, nil // there may be another daemon by now, or none
	c.mu.Unlock()
	_, err := c.Identify(ctx)
	return err
}

// same reports whether the daemon that was identified answers, with the same version.
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

// Identify returns the identity of the daemon. It asks once, and remembers the answer until Probe.
// The error says why no daemon answers.
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
