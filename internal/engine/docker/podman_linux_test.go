package docker_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
	"keyway/test/lab"
)

func startPodman(t *testing.T) *lab.ContainerEngine {
	t.Helper()
	podman, err := lab.StartPodman(enginetest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("podman said:\n%s", podman.Log())
		}
		if err := podman.Close(); err != nil {
			t.Error(err)
		}
	})
	return podman
}

func TestPodman(t *testing.T) {
	podman := startPodman(t)
	d := onDaemon(t, podman.Host)
	t.Run("Bind", func(t *testing.T) {
		w := d.world(t, docker.Podman())
		w.Kill = w.killByAPI // its processes are in another namespace
		enginetest.Run(t, w.Subject)
	})
	t.Run("Images", func(t *testing.T) { imagesToPodman(t, d) })
	t.Run("Exec", func(t *testing.T) {
		w := d.world(t, docker.Podman(), docker.ByExec())
		w.Kill, w.Dials = w.killByAPI, 20
		enginetest.Run(t, w.Subject)
	})
	t.Run("Recognised", func(t *testing.T) {
		// The socket that was named as Docker's is Podman's.
		if name := d.world(t).Engine.Name(); name != "podman" {
			t.Errorf("it is called %s", name)
		}
		// So does a daemon that is too busy to answer the request for its version.
		busy := d
		busy.host = "unix://" + sayNoVersion(t, d.host)
		if name := busy.world(t).Engine.Name(); name != "podman" {
			t.Errorf("busy, it is called %s", name)
		}
	})
	t.Run("Paused", func(t *testing.T) { // Podman itself does not stop a paused container
		w := d.world(t, docker.Podman())
		made := w.Create(t, w.Spec(t, "paused"))
		ctx := enginetest.Context(t)
		if _, err := d.client.ContainerPause(ctx, w.container("paused"), client.ContainerPauseOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := w.Engine.Stop(ctx, "paused", 10*time.Second); err != nil {
			t.Fatal(enginetest.Full(err))
		}
		if now, _ := w.State(t, made.Name); now.State != keyway.Stopped {
			t.Errorf("after Stop it is %s (%s)", now.State, now.Reason)
		}
	})
	t.Run("NoGPU", func(t *testing.T) {
		w := d.world(t)
		spec := w.Spec(t, "gpu")
		spec.GPUs.All = true
		_, err := w.Engine.Create(enginetest.Context(t), spec, enginetest.Quiet)
		enginetest.WantKind(t, err, keyway.NoGPU)
		w.WantNothingOf(t, "gpu")
	})
}

// sayNoVersion returns a socket that forwards to host all requests except that for the version,
// which gets no answer.
func sayNoVersion(t *testing.T, host string) string {
	t.Helper()
	forward := httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "podman"}) },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(host, "unix://"))
		}},
	}
	busy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/version") {
			<-r.Context().Done()
			return
		}
		forward.ServeHTTP(w, r)
	}))
	socket := filepath.Join(t.TempDir(), "busy.sock")
	var err error
	if busy.Listener, err = net.Listen("unix", socket); err != nil {
		t.Fatal(err)
	}
	busy.Start()
	t.Cleanup(busy.Close)
	return socket
}

// startBlindDocker starts a dockerd that does not see the files in dir.
func startBlindDocker(t *testing.T, dir string) (*lab.ContainerEngine, error) {
	t.Helper()
	blind, err := lab.StartBlindDocker(enginetest.Context(t), dir)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := blind.Close(); err != nil {
			t.Error(err)
		}
	})
	return blind, nil
}

// TestPodmanSaysWhy requests a property that the runtime refuses while Podman attaches. It checks
// that the error is the refusal, and not the failure to attach.
func TestPodmanSaysWhy(t *testing.T) {
	w := onDaemon(t, startPodman(t).Host).world(t, docker.Podman())
	spec := w.Spec(t, "why")
	spec.Ulimits = []keyway.Ulimit{{Name: "nofile", Soft: 1 << 40, Hard: 1 << 40}} // above fs.nr_open
	_, err := w.Engine.Create(enginetest.Context(t), spec, enginetest.Quiet)
	enginetest.WantKind(t, err, keyway.Usage)
	if !strings.Contains(err.Error(), "(ulimits)") {
		t.Error(enginetest.Full(err))
	}
	w.WantNothingOf(t, "why")
}
