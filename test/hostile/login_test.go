//go:build linux

package hostile

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	containers "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"keyway/internal/api"
	"keyway/internal/catalogue"
	"keyway/internal/keyway"
)

// private is an image that the user of the laptop may pull, and no user of the place.
const private = "example.com/team/private:1"

// The login of the laptop, and the token that its registry issues for it.
const (
	secret = "pa55word"
	ticket = "t1cket"
)

// logIn stores a login on the laptop for a registry that issues tokens, is called example.com and
// is behind a proxy. It returns the number of requests for tokens.
func (l *laptop) logIn() (tokens func() int) {
	l.t.Helper()
	inner := containers.New(containers.Logger(log.New(io.Discard, "", 0)))
	l.fill(inner)
	var mu sync.Mutex
	asked := 0
	registry := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/token" && password == secret:
			mu.Lock()
			defer mu.Unlock()
			asked++
			fmt.Fprintf(w, `{"token":%q}`, ticket)
		case r.Header.Get("Authorization") == "Bearer "+ticket:
			inner.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://example.com/token",service="example.com"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	l.t.Cleanup(registry.Close)
	proxy := serve(l.t, func(c net.Conn) { tunnel(c, registry.Listener.Addr().String()) })
	l.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: registry.Certificate().Raw})))
	l.write(".docker/config.json", fmt.Sprintf(`{"auths":{"example.com":{"username":"ada","password":%q}}}`, secret))
	l.env = append(l.env, "SSL_CERT_FILE="+l.path("ca.pem"), "HTTPS_PROXY=http://"+proxy, "NO_PROXY=", "DOCKER_CONFIG="+l.path(".docker"))
	return func() int { mu.Lock(); defer mu.Unlock(); return asked }
}

func (l *laptop) fill(registry http.Handler) {
	l.t.Helper()
	s := httptest.NewServer(registry)
	defer s.Close()
	image, err := random.Image(1000, 2)
	if err != nil {
		l.t.Fatal(err)
	}
	ref, err := name.ParseReference(strings.Replace(private, "example.com", strings.TrimPrefix(s.URL, "http://"), 1))
	if err == nil {
		err = remote.Write(ref, image)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// tunnel accepts one CONNECT request, to any host, and connects to address.
func tunnel(c net.Conn, address string) {
	head := make([]byte, 0, 4096)
	for one := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, one...) {
		if _, err := c.Read(one); err != nil || len(head) == cap(head) {
			return
		}
	}
	far, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer far.Close()
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() { defer c.Close(); _, _ = io.Copy(c, far) }() // ends with far
	_, _ = io.Copy(far, c)
}

// pulled returns the latest pull request that the place got, and removes it.
func (l *laptop) pulled() (p api.PullRequest, asked bool) {
	l.t.Helper()
	file := l.path("places/" + gpu1 + "/" + filePulled)
	body, err := os.ReadFile(file)
	if err != nil {
		return p, false
	}
	if err := os.Remove(file); err != nil {
		l.t.Fatal(err)
	}
	if err := json.Unmarshal(body, &p); err != nil {
		l.t.Fatal(err)
	}
	return p, true
}

// TestWhatALoginOpens checks a place whose template names the user's own private image, and that
// claims that its engine takes no tokens. No image of the login goes there unless the user has
// named it, and the login itself only if the user has named the engine.
func TestWhatALoginOpens(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	tokens := l.logIn()
	g := l.startGuest()
	l.says(gpu1, fileGuest, g.socket)
	l.says(gpu1, fileLacks, "")
	for _, c := range []struct {
		engine     string // which the place says it has
		ofTemplate string // and its template
		args       string
		want       keyway.Login
		pulls      bool
	}{
		{engine: "docker", args: "nice"},
		{engine: "podman", args: "nice"},
		{engine: "podman", ofTemplate: "podman", args: "nice"},
		{engine: "podman", args: "nice --engine podman"},
		{engine: "docker", args: "nice --image " + private, pulls: true, want: keyway.Login{Registry: "example.com", Token: ticket}},
		{engine: "podman", ofTemplate: "podman", args: "nice --image " + private, pulls: true},
		{engine: "podman", args: "--image " + private, pulls: true},
		{engine: "podman", args: "--engine docker --image " + private, pulls: true, want: keyway.Login{Registry: "example.com", Token: ticket}},
		{engine: "podman", args: "--engine podman --image " + private, pulls: true, want: keyway.Login{Registry: "example.com", Username: "ada", Password: secret}},
	} {
		l.says(gpu1, fileInfo, encode(api.Info{Arch: "amd64", Engines: []api.EngineInfo{{Name: c.engine, Usable: true}}}))
		offer := catalogue.Template{Format: catalogue.Format, Name: "nice"}
		offer.Spec.Template, offer.Spec.Image, offer.Spec.Engine = "nice", private, c.ofTemplate
		l.says(gpu1, fileOffers, encode([][]byte{[]byte(encode(offer))}))
		w := workspace("train", g)
		w.Engine, w.Image = c.engine, private
		l.says(gpu1, fileCreate, created(w))
		before := tokens()
		r := l.keyway(append(strings.Fields("up --on gpu1 --name train"), strings.Fields(c.args)...)...)
		p, pulls := l.pulled()
		if pulls != c.pulls || p.Login != c.want {
			t.Errorf("%s at a place with %s: asked to pull: %t, with a token: %t, a password: %t\n%s", c.args, c.engine, pulls, p.Login.Token != "", p.Login.Password != "", r)
		}
		if !c.pulls && tokens() != before {
			t.Errorf("%s: the login was used", c.args)
		}
		l.keyway("forget", "train")
	}
}
