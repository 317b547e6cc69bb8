package docker_test

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"keyway/internal/engine/enginetest"
)

// counted returns the daemon behind a proxy, which counts requests by the last word of their
// path.
func (d daemon) counted(t *testing.T) (daemon, func() map[string]int) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	behind := strings.TrimPrefix(d.host, "unix://")
	var mu sync.Mutex
	counts := map[string]int{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			mu.Lock()
			defer mu.Unlock()
			counts[path.Base(r.In.URL.Path)]++
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "docker"
		},
		FlushInterval: -1,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", behind)
		}},
	}
	s := &http.Server{Handler: proxy}
	var served sync.WaitGroup
	served.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() {
		_ = s.Close()
		served.Wait()
	})
	d.host = "unix://" + socket
	return d, func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		all := maps.Clone(counts)
		clear(counts)
		return all
	}
}

// TestUpAsksOnce counts the requests of keyway up to the daemon of a known place, because each
// answer takes time: Docker starts programs to find its version, and examines the whole machine to
// describe itself.
func TestUpAsksOnce(t *testing.T) {
	d, counts := onDaemon(t, localDocker).counted(t)
	w := d.world(t)
	ctx := enginetest.Context(t)
	if err := w.Engine.Probe(ctx); err != nil {
		t.Fatal(err)
	}
	counts()
	s := w.Spec(t, "counted")
	s.Template, s.Caller = "pytorch", true
	for range 2 { // one for the image, and one for the workspace
		if err := w.Engine.Probe(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Engine.Create(ctx, s, enginetest.Quiet); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	got := counts()
	for what, want := range map[string]int{"_ping": 2, "version": 0, "info": 1, "create": 1, "start": 1} {
		if got[what] != want {
			t.Errorf("%d requests of %s, want %d; in all %v", got[what], what, want, got)
		}
	}
	if err := w.Engine.Remove(ctx, s.Name); err != nil {
		t.Error(err)
	}
}
