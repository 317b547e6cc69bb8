package docker

import (
	"context"
	"os"
	"strconv"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/contents"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/images"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

// Engine implements engine.Engine over the Docker Engine API.
type Engine struct {
	*images.Store // for a node's questions about images
	homes         engine.Homes
	guest         engine.Guest
	client        *daemon.Client
	owner         string
	byExec        bool // never use the mode "bind"
	gpus          *gpu.Pool
	contents      contents.Images
}

var (
	_ engine.Engine       = (*Engine)(nil)
	_ engine.VolumeKeeper = (*Engine)(nil)
)

// settings are the settings of New.
type settings struct {
	daemon daemon.Options
	owner  string
	byExec bool
	gpus   *gpu.Pool
}

// An Option changes what New makes.
type Option func(*settings)

// Podman makes the engine use Podman's socket instead of Docker's.
func Podman() Option { return func(s *settings) { s.daemon.Podman = true } }

// Host makes the engine use the daemon at that address, written as in DOCKER_HOST.
func Host(host string) Option { return func(s *settings) { s.daemon.Host = host } }

// Owner makes the engine list and make the workspaces of that owner, instead of those of the user
// that the program runs as.
func Owner(owner string) Option { return func(s *settings) { s.owner = owner } }

// ByExec makes the engine reach guests only through the daemon, as if it ran on another machine.
func ByExec() Option { return func(s *settings) { s.byExec = true } }

// New makes an engine that keeps its files below root. It fails if the configuration that
// names the daemon cannot be used. It does not connect to the daemon; Probe does.
func New(root string, guest engine.Guest, opts ...Option) (*Engine, error) {
	s := settings{owner: strconv.Itoa(os.Getuid()), gpus: gpu.Here()}
	for _, opt := range opts {
		opt(&s)
	}
	c, err := daemon.New(s.daemon)
	if err != nil {
		return nil, err
	}
	return &Engine{homes: engine.HomesIn(root), guest: guest, client: c, Store: images.In(c), owner: s.owner, byExec: s.byExec, gpus: s.gpus}, nil
}

// Name implements engine.Engine.
func (e *Engine) Name() string { return e.client.Name() }

// Probe implements engine.Engine.
func (e *Engine) Probe(ctx context.Context) error { return e.client.Probe(ctx) }

// container returns the container's name. The daemon allows one container of a name, so the name is
// the claim to the workspace's name.
func (e *Engine) container(name keyway.Name) string {
	return "keyway-" + e.owner + "-" + string(name)
}
