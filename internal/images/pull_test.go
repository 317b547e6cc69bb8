package images

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	containers "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// loggedIn returns the address of a registry for which this laptop has a login. answer answers its
// requests; if it is nil, the registry issues tokens and serves an image.
func loggedIn(t *testing.T, answer http.HandlerFunc) (registry string) {
	t.Helper()
	if answer == nil {
		answer = withImage(t)
	}
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	registry = strings.TrimPrefix(s.URL, "http://")
	dir := t.TempDir()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", dir)
	config := fmt.Sprintf(`{"auths":{%q:{"username":"ada","password":"pa55word"}}}`, registry)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return registry
}

// TestARefusalBringsNoLogin checks that a registry that refuses a token counts as reached, and that
// the login itself is then not sent to the place.
func TestARefusalBringsNoLogin(t *testing.T) {
	for what, answer := range map[string]http.HandlerFunc{
		"too many":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"is broken":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"no tokens":  tokens(`{}`),
		"odd tokens": tokens(`<html>`),
		"tokens of nobody": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				panic(http.ErrAbortHandler)
			}
			tokens("")(w, r)
		},
		"tokens elsewhere": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				http.Redirect(w, r, "ftp://example.com/", http.StatusTemporaryRedirect)
				return
			}
			tokens("")(w, r)
		},
	} {
		t.Run(what, func(t *testing.T) {
			image := loggedIn(t, answer) + "/team/model:1"
			p, err := toPull(t.Context(), api.Info{Arch: "amd64"}, Want{Image: image, Engine: keyway.EngineDocker}, func(keyway.Progress) {})
			if err == nil || !p.Login.None() {
				t.Errorf("%v, and the login is sent: %t", err, !p.Login.None())
			}
		})
	}
}

// tokens returns a registry whose token server answers with body.
func tokens(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			fmt.Fprint(w, body)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// TestASilentRegistryLeavesItToThePlace checks that the place gets the login for a registry that
// does not answer this laptop, because the place may reach it.
func TestASilentRegistryLeavesItToThePlace(t *testing.T) {
	registry := loggedIn(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	p, err := toPull(t.Context(), api.Info{Arch: "amd64"}, Want{Image: registry + "/team/model:1", Engine: keyway.EngineDocker}, func(keyway.Progress) {})
	if err != nil || p.Login.Password != "pa55word" {
		t.Errorf("%v", err)
	}
}

// TestAPlaceGetsNoLoginByItsWord checks that a place cannot obtain the login itself by a statement
// about its engine.
func TestAPlaceGetsNoLoginByItsWord(t *testing.T) {
	registry := loggedIn(t, nil)
	podman := api.Info{Arch: "amd64", Engines: []api.EngineInfo{{Name: keyway.EnginePodman, Usable: true}}}
	for what, c := range map[string]struct {
		info api.Info
		want Want
		get  string // password
	}{
		"the place says Podman":           {podman, Want{}, ""},
		"Docker, and the place Podman":    {podman, Want{Engine: keyway.EngineDocker}, ""},
		"Podman, by the place's template": {podman, Want{Engine: keyway.EnginePodman}, ""},
		"Podman":                          {podman, Want{Engine: keyway.EnginePodman, Whole: true}, "pa55word"},
	} {
		t.Run(what, func(t *testing.T) {
			c.want.Image = registry + "/team/model:1"
			told := ""
			p, err := toPull(t.Context(), c.info, c.want, func(p keyway.Progress) { told += p.Message })
			if err != nil || p.Login.Password != c.get {
				t.Errorf("%v, and the login is sent: %t", err, p.Login.Password != "")
			}
			if stays := strings.Contains(told, "stays here"); stays != p.Login.None() {
				t.Errorf("it is told that %q", told)
			}
		})
	}
}

// withImage returns a registry that serves team/model:1 to clients with a token.
func withImage(t *testing.T) http.HandlerFunc {
	t.Helper()
	inner := containers.New(containers.Logger(log.New(io.Discard, "", 0)))
	filling := httptest.NewServer(inner)
	defer filling.Close()
	image, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(strings.TrimPrefix(filling.URL, "http://") + "/team/model:1")
	if err == nil {
		err = remote.Write(ref, image)
	}
	if err != nil {
		t.Fatal(err)
	}
	closed := tokens(`{"token":"t0ken"}`)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer t0ken" {
			inner.ServeHTTP(w, r)
			return
		}
		closed(w, r)
	}
}
