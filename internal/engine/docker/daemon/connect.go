package daemon

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/docker/go-connections/tlsconfig"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"

	"keyway/internal/keyway"
)

// Names of this engine.
const (
	nameDocker = keyway.EngineDocker
	namePodman = keyway.EnginePodman
)

// minAPI is the oldest API with all the functions used here (Docker 20.10).
const minAPI = "1.41"

// connect makes a client for the endpoint that passes every answer to hear. It does not connect to
// the daemon yet.
func connect(p endpoint, hear client.ResponseHook) (*client.Client, error) {
	if strings.HasPrefix(p.host, "ssh://") {
		return nil, keyway.Errorf(keyway.BadConfig, "%s points to %s, which is another machine", p.from, p.host).
			Advise(keyway.GoThere, strings.TrimPrefix(p.host, "ssh://"))
	}
	opts := []client.Opt{client.WithHTTPResponseHook(hear), client.WithHost(p.host)}
	if p.tls != "" { // the certificate proves the daemon's identity
		tls, err := tlsClient(p)
		if err != nil {
			return nil, err
		}
		opts = slices.Insert(opts, 0, client.WithHTTPClient(tls)) // which gets the host
	} else if plain, err := boundedClient(p.host); err == nil {
		opts = append(opts, client.WithHTTPClient(plain)) // which has the host
	}
	c, err := client.New(opts...)
	if err != nil {
		return nil, keyway.Errorf(keyway.BadConfig, "%s names no daemon: %q: %w", p.from, p.host, err).
			Hint("for example: export %s", p.example())
	}
	return c, nil
}

func tlsClient(p endpoint) (*http.Client, error) {
	opts := tlsconfig.Options{InsecureSkipVerify: p.skipVerify, ExclusiveRootPools: true}
	for name, field := range map[string]*string{"ca.pem": &opts.CAFile, "cert.pem": &opts.CertFile, "key.pem": &opts.KeyFile} {
		// A context may have only some of them.
		if path := filepath.Join(p.tls, name); fileExists(path) {
			*field = path
		}
	}
	conf, err := tlsconfig.Client(opts)
	if err != nil {
		return nil, keyway.Errorf(keyway.BadConfig, "the TLS files for %s in %s cannot be used: %w", p.host, p.tls, err)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: conf}, CheckRedirect: client.CheckRedirect}, nil
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Identity is a daemon's description of itself.
type Identity struct {
	Podman  bool
	Version string
	Arch    string // in Go's terms
	// Set by Inquire.
	Rootless  bool // the daemon runs as its user, and that user is root in its containers
	Limitless bool // it cannot limit what a container uses
}

// Name returns the name of the daemon for users.
func (d Identity) Name() string {
	if d.Podman {
		return namePodman
	}
	return nameDocker
}

// Title returns the name in the form that begins a sentence.
func (d Identity) Title() string {
	if d.Podman {
		return "Podman"
	}
	return "Docker"
}

// identify asks a daemon for its version, which has everything but its name.
func identify(ctx context.Context, c *client.Client) (Identity, error) {
	v, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return Identity{}, err
	}
	if v.APIVersion == "" {
		return Identity{}, errors.New("it reports no version")
	}
	if versions.LessThan(v.APIVersion, minAPI) {
		return Identity{}, keyway.Errorf(keyway.VersionMismatch, "the Docker daemon is too old: version %s speaks API %s, keyway needs %s",
			v.Version, v.APIVersion, minAPI).Advise(keyway.UpdateEngine, "Docker", "20.10")
	}
	return Identity{Version: v.Version, Arch: v.Arch}, nil
}

// Said returns the daemon's description of its system. Podman takes up to a second for the answer.
func (c *Client) Said(ctx context.Context) (system.Info, error) {
	found, err := c.Info(ctx, client.InfoOptions{})
	if err != nil {
		return system.Info{}, c.Explain(ctx, err)
	}
	return found.Info, nil
}

// RemoteReason returns the reason for which the daemon that has given this answer cannot mount this
// machine's files, or its containers could not use them. It is empty if no reason is known.
func (c *Client) RemoteReason(said system.Info) string {
	return remoteDaemon(c.at, said.OperatingSystem, said.SecurityOptions)
}

// Local reports whether the daemon is on this machine and may see its files.
func (c *Client) Local() bool { return c.at.local() }

// Address returns the address of the daemon, as in DOCKER_HOST.
func (c *Client) Address() string { return c.at.host }

// remoteDaemon returns the reason for which a daemon cannot see this machine's files.
func remoteDaemon(p endpoint, system string, security []string) string {
	if !p.local() {
		return "the daemon is not reached through a unix socket of a Linux machine"
	}
	if strings.Contains(system, "Docker Desktop") {
		return "the daemon runs in a virtual machine"
	}
	for _, option := range security {
		name, _, _ := strings.Cut(strings.TrimPrefix(option, "name="), ",")
		switch name {
		case "selinux":
			// Mounted files would have to be relabelled, including the guest program that all
			// workspaces share.
			return "SELinux separates containers from this machine's files"
		case "userns":
			return "the daemon's users are not this machine's (userns-remap)"
		}
	}
	return ""
}

// probeTimeout bounds the time in which a daemon identifies itself.
const probeTimeout = 10 * time.Second

// Unusable explains why a daemon could not be reached. The client's own error has lost the cause,
// so this tries the socket again.
func (c *Client) Unusable(err error) error {
	var said *keyway.Error
	if errors.As(err, &said) {
		return err
	}
	socket := c.at.socket()
	if socket == "" {
		return keyway.Errorf(keyway.EngineDown, "the %s daemon at %s (%s) does not answer: %w", c.Name(), c.at.host, c.at.from, err).
			Advise(keyway.SeeEngine)
	}
	conn, dialErr := net.DialTimeout("unix", socket, time.Second)
	if dialErr == nil {
		conn.Close()
		return keyway.Errorf(keyway.EngineDown, "the server at %s does not answer as a %s daemon does: %w", socket, c.Name(), err).
			Hint("see what it is: sudo ss -xlp src %s", socket)
	}
	return refused(c.Name(), socket, dialErr, programHere(c.Name()))
}

// refused explains to the user a failed connect(2) to a daemon's socket.
func refused(name, socket string, err error, installed bool) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return forbidden(name, socket)
	case errors.Is(err, os.ErrNotExist) && !installed:
		return keyway.Errorf(keyway.EngineAbsent, "%s is not installed here (there is no %s)", title(name), socket).
			Advise(keyway.InstallEngine)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return keyway.Errorf(keyway.EngineDown, "%s does not run here (nobody listens at %s)", title(name), socket).
			Advise(keyway.StartEngine, startCommand(name))
	}
	return keyway.Errorf(keyway.EngineDown, "%s cannot be reached at %s: %w", title(name), socket, err)
}

func forbidden(name, socket string) error {
	e := keyway.Errorf(keyway.EngineForbidden, "you may not use %s here (%s: permission denied)", title(name), socket)
	if name == namePodman {
		return e.Advise(keyway.StartOwnEngine, "systemctl --user start podman.socket")
	}
	return e.Advise(keyway.JoinEngineGroup, "sudo usermod -aG docker $USER")
}

func title(name string) string { return Identity{Podman: name == namePodman}.Title() }

func startCommand(name string) string {
	if name == nameDocker {
		return "sudo systemctl start docker"
	}
	if os.Getuid() == 0 {
		return "systemctl start podman.socket"
	}
	return "systemctl --user start podman.socket"
}

// programHere reports whether the engine's programs are at this place.
func programHere(name string) bool {
	programs := []string{"dockerd", "docker"}
	if name == namePodman {
		programs = []string{"podman"}
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err == nil {
			return true
		}
		// A non-interactive ssh often has no sbin in its PATH.
		if fileExists(filepath.Join("/usr/sbin", program)) {
			return true
		}
	}
	return false
}
