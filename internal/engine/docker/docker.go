package docker

import (
	"context"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

// Engine implements engine.Engine over the Docker Engine API.
type Engine struct {
	homes  engine.Homes
	guest  engine.Guest
	client *client.Client
	at     endpoint
	around surroundings
	owner  string
	byExec bool // never use the mode "bind"
	gpus   *gpu.Place

	mu    sync.Mutex
	name  string  // docker or podman: what was asked for, until an answer says who it is
	known *daemon // its version, not its name; nil until somebody has answered
}

var (
	_ engine.Engine       = (*Engine)(nil)
	_ engine.VolumeKeeper = (*Engine)(nil)
)

// An Option changes what New makes.
type Option func(*Engine)

// Podman looks for Podman's socket instead of Docker's.
func Podman() Option { return func(e *Engine) { e.name = namePodman } }

// Host uses the daemon that listens there, written as in DOCKER_HOST.
func Host(host string) Option {
	return func(e *Engine) { e.at = endpoint{host: host, from: "the given address"} }
}

// Owner sees and makes the workspaces of that owner instead of those of the
// user the program runs as.
func Owner(owner string) Option { return func(e *Engine) { e.owner = owner } }

// ByExec reaches guests through the daemon only, as if it were far away.
func ByExec() Option { return func(e *Engine) { e.byExec = true } }

// greeting is how long New waits for a daemon to say who it is; one that runs
// takes a few milliseconds.
const greeting = 2 * time.Second

// New makes an engine that keeps its files below root. It fails if the
// configuration that says where the daemon is cannot be used; whether there is a
// daemon, Probe says.
func New(root string, guest engine.Guest, opts ...Option) (*Engine, error) {
	e := &Engine{
		homes: engine.HomesIn(root), guest: guest, around: here(),
		name: nameDocker, owner: strconv.Itoa(os.Getuid()), gpus: gpu.Here(),
	}
	for _, opt := range opts {
		opt(e)
	}
	var err error
	switch {
	case e.at.host != "":
	case e.name == namePodman:
		e.at = e.around.podman()
	default:
		e.at, err = e.around.docker()
	}
	if err != nil {
		return nil, err
	}
	if e.client, err = connect(e.at, e.hear); err != nil {
		return nil, err
	}
	// Docker's socket may be Podman's in truth, and the engine is to be called by
	// its right name from the start. That nobody answers is for Probe to say.
	ctx, cancel := context.WithTimeout(context.Background(), greeting)
	defer cancel()
	_, _ = e.client.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}) // which is once for all
	return e, nil
}

// hear learns from the header of an answer who sent it. Podman puts one of its own
// on all of them, also on that to a ping, which it gives at once: to say its
// version it asks its helpers first, 0.2 s, or seconds on a busy machine. Neither
// puts any on an answer that becomes a stream.
func (e *Engine) hear(answer *http.Response) {
	if answer.Header.Get("Api-Version") == "" && answer.Header.Get("Libpod-Api-Version") == "" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.name = nameDocker
	if answer.Header.Get("Libpod-Api-Version") != "" {
		e.name = namePodman
	}
}

// Name implements engine.Engine.
func (e *Engine) Name() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.name
}

// Probe implements engine.Engine.
func (e *Engine) Probe(ctx context.Context) error {
	e.mu.Lock()
	e.known = nil // the daemon may be another one by now, or none
	e.mu.Unlock()
	_, err := e.daemon(ctx)
	return err
}

// daemon is who answers at the engine's address; the error says why nobody does.
func (e *Engine) daemon(ctx context.Context) (daemon, error) {
	e.mu.Lock()
	known := e.known
	e.mu.Unlock()
	if known != nil {
		return e.whoever(), nil
	}
	timed, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	d, err := identify(timed, e.client)
	if ctx.Err() != nil {
		return daemon{}, ctx.Err()
	}
	if err != nil {
		return daemon{}, e.unusable(err)
	}
	e.mu.Lock()
	e.known = &d
	e.mu.Unlock()
	return e.whoever(), nil
}

// container is the container's name: the daemon lets one of that name exist,
// which makes it the claim to the workspace's name.
func (e *Engine) container(name keyway.Name) string {
	return "keyway-" + e.owner + "-" + string(name)
}
