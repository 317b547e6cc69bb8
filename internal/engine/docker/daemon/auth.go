package daemon

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os/exec"
	"strings"
	"time"

	"github.com/moby/moby/api/types/registry"

	"keyway/internal/bounded"
	"keyway/internal/keyway"
)

// storedAuth is the entry of docker login for one registry.
type storedAuth struct {
	Auth          string `json:"auth"` // base64 of user:password
	IdentityToken string `json:"identitytoken"`
}

// indexServer is the name of the default registry in docker login's file.
const indexServer = "https://index.docker.io/v1/"

// Bounds on a credential helper (docker-credential-NAME).
const (
	helperTimeout = 10 * time.Second
	maxHelperSays = 64 << 10
)

// RegistryAuth returns the credentials with which the daemon pulls from a registry for the user:
// the daemon itself does not know what docker login has stored. It is empty if nothing is stored,
// which is no error: most images need none.
func (c *Client) RegistryAuth(ctx context.Context, registry string) string {
	return c.around.registryAuth(ctx, registry)
}

// LoginAuth returns the credentials with which the daemon pulls with a login that the laptop has
// sent.
func LoginAuth(l keyway.Login) string {
	server := l.Registry
	if server == "docker.io" {
		server = indexServer
	}
	return encodeAuth(registry.AuthConfig{
		ServerAddress: server, Username: l.Username, Password: l.Password,
		IdentityToken: l.IdentityToken, RegistryToken: l.Token,
	})
}

func (s surroundings) registryAuth(ctx context.Context, server string) string {
	c, err := s.config()
	if err != nil {
		return ""
	}
	if server == "docker.io" {
		server = indexServer
	}
	if helper := c.helperFor(server); helper != "" {
		if auth, ok := askHelper(ctx, helper, server); ok {
			return encodeAuth(auth)
		}
	}
	if stored, ok := c.stored(server); ok {
		return encodeAuth(stored.config(server))
	}
	return ""
}

func (c config) helperFor(server string) string {
	if helper, ok := c.CredHelpers[server]; ok {
		return helper
	}
	return c.CredsStore
}

// stored finds server's entry, whose key may have a scheme and a path.
func (c config) stored(server string) (storedAuth, bool) {
	if auth, ok := c.Auths[server]; ok {
		return auth, true
	}
	for key, auth := range c.Auths {
		if hostOf(key) == hostOf(server) {
			return auth, true
		}
	}
	return storedAuth{}, false
}

func hostOf(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, _, _ := strings.Cut(key, "/")
	return host
}

func (a storedAuth) config(server string) registry.AuthConfig {
	conf := registry.AuthConfig{ServerAddress: server, IdentityToken: a.IdentityToken}
	if plain, err := base64.StdEncoding.DecodeString(a.Auth); err == nil {
		user, password, _ := strings.Cut(string(plain), ":")
		conf.Username, conf.Password = user, strings.TrimRight(password, "\x00")
	}
	return conf
}

func encodeAuth(conf registry.AuthConfig) string {
	data, err := json.Marshal(conf)
	if err != nil {
		return ""
	}
	return base64.URLEncoding.EncodeToString(data)
}

// askHelper runs docker-credential-HELPER get. The name comes from the user's own configuration,
// but must not contain a path.
func askHelper(ctx context.Context, helper, server string) (registry.AuthConfig, bool) {
	if strings.ContainsAny(helper, "/\\") {
		return registry.AuthConfig{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker-credential-"+helper, "get")
	cmd.Stdin = strings.NewReader(server)
	out := bounded.Buffer{Max: maxHelperSays}
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return registry.AuthConfig{}, false
	}
	var said struct{ Username, Secret string }
	if json.Unmarshal(out.Bytes(), &said) != nil || said.Secret == "" {
		return registry.AuthConfig{}, false
	}
	conf := registry.AuthConfig{ServerAddress: server}
	if said.Username == "<token>" {
		conf.IdentityToken = said.Secret
	} else {
		conf.Username, conf.Password = said.Username, said.Secret
	}
	return conf, true
}
