package daemon

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/moby/moby/client"

	"keyway/internal/keyway"
)

// endpoint is the address of a daemon.
type endpoint struct {
	host string // as in DOCKER_HOST
	from string // the source of the address, for people
	tls  string // directory with ca.pem, cert.pem and key.pem; empty: none
	// skipVerify means that the daemon's certificate need not be checked.
	skipVerify bool
}

// example returns a setting of the variable that the address comes from, or of Docker's.
func (p endpoint) example() string {
	if p.from == "CONTAINER_HOST" {
		return "CONTAINER_HOST=unix:///run/podman/podman.sock"
	}
	return "DOCKER_HOST=unix:///var/run/docker.sock"
}

// socket returns the path of the endpoint's unix socket; empty if it has none.
func (p endpoint) socket() string {
	path, ok := strings.CutPrefix(p.host, "unix://")
	if !ok {
		return ""
	}
	return path
}

// local reports whether the daemon is on this machine and may see its files.
func (p endpoint) local() bool { return p.socket() != "" && runtime.GOOS == "linux" }

// surroundings are the environment and files of the place that say where daemons are. Tests have
// their own.
type surroundings struct {
	getenv func(string) string
	home   string
	uid    int
	exists func(path string) bool
}

func here() surroundings {
	home, _ := os.UserHomeDir()
	return surroundings{getenv: os.Getenv, home: home, uid: os.Getuid(), exists: func(path string) bool {
		_, err := os.Lstat(path)
		return err == nil
	}}
}

// docker finds the daemon as the docker command does: DOCKER_HOST, then DOCKER_CONTEXT, then the
// current context of its configuration, then the default socket; finally a rootless daemon's.
func (s surroundings) docker() (endpoint, error) {
	if host := strings.TrimSpace(s.getenv("DOCKER_HOST")); host != "" {
		p := endpoint{host: dockerHost(host, s.getenv("DOCKER_TLS_VERIFY") != "" || s.getenv("DOCKER_TLS") != ""), from: "DOCKER_HOST", skipVerify: s.getenv("DOCKER_TLS_VERIFY") == ""}
		if p.tls = s.getenv("DOCKER_CERT_PATH"); p.tls == "" && (!p.skipVerify || s.getenv("DOCKER_TLS") != "") {
			p.tls = s.configDir()
		}
		return p, nil
	}
	name, from := s.getenv("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
	if name == "" {
		config, err := s.config()
		if err != nil {
			return endpoint{}, err
		}
		name, from = config.CurrentContext, filepath.Join(s.configDir(), "config.json")
	}
	if name != "" && name != "default" {
		return s.context(name, from)
	}
	p := endpoint{host: client.DefaultDockerHost, from: "the default"}
	if rootless := filepath.Join(s.runtimeDir(), "docker.sock"); !s.exists(p.socket()) && s.exists(rootless) {
		p.host = "unix://" + rootless
	}
	return p, nil
}

// dockerHost completes an address as the docker command does: a host and a port, or a host alone, are
// of tcp, and the defaults are this machine, port 2375, with TLS 2376, or the default socket.
func dockerHost(host string, tls bool) string {
	protocol, address, named := strings.Cut(host, "://")
	switch {
	case strings.HasPrefix(host, "/"):
		return host // no address, as docker says
	case !named:
		protocol, address = "tcp", host
	case protocol == "unix" && address == "":
		return client.DefaultDockerHost
	}
	if protocol != "tcp" {
		return host
	}
	address, path, _ := strings.Cut(address, "/")
	at, err := url.Parse("tcp://" + address)
	if err != nil {
		return host
	}
	port := "2375"
	if tls {
		port = "2376"
	}
	return strings.TrimSuffix("tcp://"+net.JoinHostPort(cmp.Or(at.Hostname(), "127.0.0.1"), cmp.Or(at.Port(), port))+"/"+path, "/")
}

// podman finds Podman's socket: CONTAINER_HOST, then the user's own service, then, for root, the
// system's.
func (s surroundings) podman() endpoint {
	if host := strings.TrimSpace(s.getenv("CONTAINER_HOST")); host != "" {
		return endpoint{host: host, from: "CONTAINER_HOST"}
	}
	own := filepath.Join(s.runtimeDir(), "podman", "podman.sock")
	system := "/run/podman/podman.sock"
	if s.uid == 0 || !s.exists(own) && s.exists(system) {
		return endpoint{host: "unix://" + system, from: "the default"}
	}
	return endpoint{host: "unix://" + own, from: "the default"}
}

func (s surroundings) runtimeDir() string {
	if dir := s.getenv("XDG_RUNTIME_DIR"); dir != "" {
		return dir
	}
	return filepath.Join("/run/user", strconv.Itoa(s.uid))
}

func (s surroundings) configDir() string {
	if dir := s.getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	return filepath.Join(s.home, ".docker")
}

// Bounds on the docker command's files, in bytes.
const (
	maxConfig = 1 << 20
	maxMeta   = 256 << 10
)

// config is the part of the docker command's configuration that is used here.
type config struct {
	CurrentContext string                `json:"currentContext"`
	Auths          map[string]storedAuth `json:"auths"`
	CredsStore     string                `json:"credsStore"`
	CredHelpers    map[string]string     `json:"credHelpers"`
}

func (s surroundings) config() (config, error) {
	var c config
	path := filepath.Join(s.configDir(), "config.json")
	err := readJSON(path, maxConfig, &c)
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, nil
	}
	if err != nil {
		return config{}, badConfig(path, err)
	}
	return c, nil
}

func badConfig(path string, err error) error {
	return keyway.Errorf(keyway.BadConfig, "Docker's configuration %s cannot be read: %w", path, err).
		Hint("repair it, or say where the daemon is: export DOCKER_HOST=unix:///var/run/docker.sock")
}

// context reads a context of the docker command. Its directory is named after the SHA-256 of the
// context's name.
func (s surroundings) context(name, from string) (endpoint, error) {
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	path := filepath.Join(s.configDir(), "contexts", "meta", id, "meta.json")
	var meta contextMeta
	err := readJSON(path, maxMeta, &meta)
	if errors.Is(err, fs.ErrNotExist) {
		return endpoint{}, keyway.Errorf(keyway.BadConfig, "there is no Docker context %q, which %s names", name, from).
			Hint("see which there are: docker context ls\nand choose: docker context use default")
	}
	if err != nil {
		return endpoint{}, badConfig(path, err)
	}
	p := endpoint{host: meta.Endpoints.Docker.Host, from: "the Docker context " + name, skipVerify: meta.Endpoints.Docker.SkipTLSVerify}
	if p.host == "" {
		return endpoint{}, badConfig(path, errors.New("it names no host"))
	}
	if dir := filepath.Join(s.configDir(), "contexts", "tls", id, "docker"); s.exists(dir) {
		p.tls = dir
	}
	return p, nil
}

type contextMeta struct {
	Endpoints struct {
		Docker struct {
			Host          string
			SkipTLSVerify bool
		} `json:"docker"`
	}
}

// readJSON decodes the file at path, which must have at most limit bytes.
func readJSON(path string, limit int64, into any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return decodeJSON(f, limit, into)
}

func decodeJSON(r io.Reader, limit int64, into any) error {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return err
	}
	if int64(len(data)) > limit {
		return errors.New("it is too long")
	}
	return json.Unmarshal(data, into)
}
