package registry

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	containers "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"keyway/internal/keyway"
)

const user, password, token = "ada", "pa55word", "t0ken"

// closed is a registry that wants a login: Basic, or Bearer with tokens of its own.
type closed struct {
	*httptest.Server
	bearer bool
	realm  string // of the tokens; empty: its own

	mu    sync.Mutex
	heard []string // Authorization headers, each with the path that it came to
	scope string   // the request for the last token
}

func newClosed(t *testing.T, bearer bool) (c *closed, image string) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	inner := containers.New(containers.Logger(log.New(io.Discard, "", 0)))
	c = &closed{bearer: bearer}
	open := true // until the image is there
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if open || c.admits(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(c.Close)
	image = strings.TrimPrefix(c.URL, "http://") + "/team/model:2.8.0-devel"
	ref, err := name.ParseReference(image)
	if err == nil {
		err = remote.Write(ref, build(t, "amd64"))
	}
	if err != nil {
		t.Fatal(err)
	}
	open = false
	return c, image
}

func (c *closed) admits(w http.ResponseWriter, r *http.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	header := r.Header.Get("Authorization")
	c.heard = append(c.heard, r.URL.Path+" "+header)
	name, secret, _ := r.BasicAuth()
	login := name == user && secret == password
	switch {
	case r.URL.Path == "/token":
		c.scope = r.URL.Query().Get("scope")
		if !login {
			w.WriteHeader(http.StatusUnauthorized)
			return false
		}
		json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 300})
		return false
	case c.bearer && header == "Bearer "+token, !c.bearer && login:
		return true
	case c.bearer:
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test"`, cmp.Or(c.realm, c.URL)))
	default:
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
	}
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

// logIn is docker login, by config.json or by a helper beside it.
func logIn(t *testing.T, server, secret string, helper bool) {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + secret))
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, server, auth)
	if helper {
		bin := t.TempDir()
		script := fmt.Sprintf("#!/bin/sh\nread server\necho '{\"ServerURL\":\"'$server'\",\"Username\":%q,\"Secret\":%q}'\n", user, secret)
		if err := os.WriteFile(filepath.Join(bin, "docker-credential-test"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		config = fmt.Sprintf(`{"credHelpers":{%q:"test"}}`, server)
	}
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFindWithLogin(t *testing.T) {
	for what, c := range map[string]struct{ bearer, helper bool }{
		"a password": {}, "a password of a helper": {helper: true},
		"a token": {bearer: true}, "a token, by a helper": {bearer: true, helper: true},
	} {
		t.Run(what, func(t *testing.T) {
			r, image := newClosed(t, c.bearer)
			server := strings.TrimPrefix(r.URL, "http://")
			if _, err := Find(t.Context(), image, "amd64"); !keyway.Is(err, keyway.ImageNotFound) || !strings.Contains(keyway.AsError(err).Next, "docker login "+server) {
				t.Errorf("without a login: %v", err)
			}
			logIn(t, server, "wrong", c.helper)
			if _, err := Find(t.Context(), image, "amd64"); !keyway.Is(err, keyway.ImageNotFound) || strings.Contains(fmt.Sprint(err), "wrong") {
				t.Errorf("with the wrong login: %v", err)
			}
			logIn(t, server, password, c.helper)
			p, err := Find(t.Context(), image, "amd64")
			if err != nil || len(p.Layers) != 2 || p.Repository != r.URL+"/v2/team/model" || p.Login.Registry != server {
				t.Fatalf("%v: %v %v", err, p.Layers, p.Repository)
			}
			want := keyway.Login{Registry: server, Username: user, Password: password}
			if c.bearer { // the password stays on the laptop
				want = keyway.Login{Registry: server, Token: token}
			}
			if p.Login != want {
				t.Errorf("the login is %#v", map[string]string{"user": p.Login.Username, "password": p.Login.Password, "token": p.Login.Token})
			}
			if c.bearer && r.scope != "repository:team/model:pull" {
				t.Errorf("the token is for %q", r.scope)
			}
			stored, err := Stored(t.Context(), image)
			if err != nil || stored.Password != password || stored.Username != user {
				t.Errorf("stored: %v, %v", stored, err)
			}
			if said := fmt.Sprintf("%v %+v %#v %s", p.Login, p, p.Login, p.Login); strings.Contains(said, password) || strings.Contains(said, token) {
				t.Errorf("a text has the login: %s", said)
			}
		})
	}
}

// TestAnOpenRegistryGetsNoLogin checks that no login is sent, here or at the place, to a registry
// that does not ask for one.
func TestAnOpenRegistryGetsNoLogin(t *testing.T) {
	repo := serve(t)
	logIn(t, strings.SplitN(repo, "/", 2)[0], password, false)
	p, err := Find(t.Context(), repo+":nightly", "amd64")
	if err != nil || !p.Login.None() || len(p.Layers) == 0 {
		t.Errorf("%v, %v", err, p.Layers)
	}
	_, err = Find(t.Context(), repo+":2.8-cuda12.6-devel", "amd64")
	if near := keyway.AsError(err).Nearest; !keyway.Is(err, keyway.ImageNotFound) || near != repo+":2.8.0-cuda12.6-cudnn9-devel" {
		t.Errorf("the nearest is %q, %v", near, err)
	}
}

// TestNoLoginWhereOthersListen checks that a login goes only over TLS or to this machine, whichever
// registry asks for it and wherever its token server is.
func TestNoLoginWhereOthersListen(t *testing.T) {
	const private = "10.1.2.3:5000"
	for what, c := range map[string]struct {
		bearer bool
		server string // empty: on this machine
		realm  string
		kind   keyway.Kind
	}{
		"a registry of the network":                {server: private, kind: keyway.ImageNotFound},
		"tokens of a registry of the network":      {bearer: true, server: private, realm: "http://" + private, kind: keyway.ImageNotFound},
		"a registry of this machine, tokens of no": {bearer: true, realm: "http://tokens.example", kind: keyway.Untrusted},
	} {
		t.Run(what, func(t *testing.T) {
			r, image := newClosed(t, c.bearer)
			r.realm = c.realm
			own := r.Listener.Addr().String()
			server := cmp.Or(c.server, own)
			image = server + strings.TrimPrefix(image, own)
			logIn(t, server, password, false)
			everythingLeadsTo(t, own)
			_, found := Find(t.Context(), image, "amd64")
			_, looked := Look(t.Context(), image, "amd64")
			for _, err := range []error{found, looked} {
				if !keyway.Is(err, c.kind) {
					t.Errorf("%v, want %v", err, c.kind)
				}
			}
			for _, line := range r.heard {
				if strings.Contains(line, "Basic") {
					t.Errorf("the login was sent: %s", line)
				}
			}
		})
	}
}

// everythingLeadsTo redirects each request without TLS to the address.
func everythingLeadsTo(t *testing.T, address string) {
	before := remote.DefaultTransport
	t.Cleanup(func() { remote.DefaultTransport = before })
	remote.DefaultTransport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed },
	}
}

// TestARegistryOfThisMachineMayBePlain checks that a registry without TLS is asked at any address
// of this machine, and at no other.
func TestARegistryOfThisMachineMayBePlain(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := httptest.NewServer(containers.New(containers.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	built, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	usual := s.Listener.Addr().String()
	to, err := name.ParseReference(usual + "/a:1")
	if err == nil {
		err = remote.Write(to, built)
	}
	if err != nil {
		t.Fatal(err)
	}
	everythingLeadsTo(t, usual)
	for image, plain := range map[string]bool{"127.0.0.65:5000/a:1": true, "127.8.9.10/a:1": true, "registry.example:5000/a:1": false} {
		if _, err := Look(t.Context(), image, "amd64"); (err == nil) != plain {
			t.Errorf("%s: %v", image, err)
		}
		if _, err := Find(t.Context(), image, "amd64"); (err == nil) != plain {
			t.Errorf("%s is not found: %v", image, err)
		}
	}
}

func TestDomain(t *testing.T) {
	for image, want := range map[string]string{"busybox": "docker.io", "team/x:1": "docker.io", "ghcr.io/a/b": "ghcr.io", "127.0.0.1:5000/a": "127.0.0.1:5000"} {
		if got, err := Domain(image); err != nil || got != want {
			t.Errorf("%s: %q, %v", image, got, err)
		}
	}
	for domain, want := range map[string]bool{"127.0.0.1:5000": true, "localhost": true, "[::1]:5000": true, "127.0.0.1.example.com": false, "10.0.0.1:5000": false, "docker.io": false} {
		if OfThisMachine(domain) != want {
			t.Errorf("%s is this machine: %v", domain, !want)
		}
	}
}
