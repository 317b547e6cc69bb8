package daemon

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/moby/moby/client"
)

// TestAnswersEnd checks that a server whose answers never end costs a bounded amount of memory, and
// that each request returns an error.
func TestAnswersEnd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.43")
		w.Header().Set("Content-Type", "application/json")
		_, err := io.WriteString(w, `["`)
		for more := strings.Repeat("a", 1<<20); err == nil && r.Method != http.MethodHead; { // until the client goes away
			_, err = io.WriteString(w, more)
		}
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-ended })
	c, err := connect(endpoint{host: "unix://" + socket}, func(*http.Response) {})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for what, ask := range map[string]func() error{
		"version": func() error { _, err := c.ServerVersion(ctx, client.ServerVersionOptions{}); return err },
		"info":    func() error { _, err := c.Info(ctx, client.InfoOptions{}); return err },
		"list":    func() error { _, err := c.ContainerList(ctx, client.ContainerListOptions{}); return err },
		"inspect": func() error { _, err := c.ContainerInspect(ctx, "x", client.ContainerInspectOptions{}); return err },
		"images":  func() error { _, err := c.ImageList(ctx, client.ImageListOptions{}); return err },
		"image":   func() error { _, err := c.ImageInspect(ctx, "x"); return err },
		"create":  func() error { _, err := c.ContainerCreate(ctx, client.ContainerCreateOptions{Image: "x"}); return err },
		"exec": func() error {
			_, err := c.ExecCreate(ctx, "x", client.ExecCreateOptions{Cmd: []string{"x"}})
			return err
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := ask()
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > 12*maxAnswer {
			t.Errorf("%s: %d MB, %v", what, took>>20, err)
		}
	}
	// An answer that is passed on as it comes is not bounded.
	image, err := c.ImageSave(ctx, []string{"x"})
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if n, err := io.CopyN(io.Discard, image, 2*maxAnswer); err != nil {
		t.Errorf("an image ends after %d bytes: %v", n, err)
	}
}

func TestStreamsAreTold(t *testing.T) {
	for request, want := range map[string]bool{
		"GET /v1.43/images/get": true, "GET /v1.43/images/x/get": true, "POST /v1.43/images/load": true, "POST /v1.43/images/create": true,
		"GET /v1.43/containers/x/archive": true, "GET /v1.43/containers/x/logs": true,
		"POST /v1.43/containers/create": false, "GET /v1.43/containers/json": false, "GET /v1.43/info": false, "HEAD /_ping": false,
		"POST /v1.43/volumes/create": false, "GET /v1.43/containers/get/json": false,
	} {
		method, path, _ := strings.Cut(request, " ")
		if isStream(method, path) != want {
			t.Errorf("%s: %v", request, !want)
		}
	}
}

// TestAnswerIsBounded checks that reading an endless answer ends.
func TestAnswerIsBounded(t *testing.T) {
	b := &boundedBody{io.NopCloser(strings.NewReader(strings.Repeat("a", 1000))), 100}
	if data, err := io.ReadAll(b); len(data) != 100 || !errors.Is(err, errEndless) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// TestNoVersionIsNoOldVersion checks that a server that answers null to every request is no daemon.
func TestNoVersionIsNoOldVersion(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.43")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "null")
	}))
	defer server.Close()
	c, err := connect(endpoint{host: "tcp://" + server.Listener.Addr().String()}, func(*http.Response) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identify(t.Context(), c); err == nil || strings.Contains(err.Error(), "too old") {
		t.Errorf("%v", err)
	}
}
