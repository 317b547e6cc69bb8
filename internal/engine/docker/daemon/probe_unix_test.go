//go:build unix

package daemon

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/moby/moby/api/types/system"

	"keyway/internal/keyway"
)

// standIn answers a request for the daemon's identity.
type standIn struct {
	mu       sync.Mutex
	version  string
	podman   bool
	proxied  bool // a proxy sets the header Server of its answers
	rootless bool
	asked    map[string]int
}

func (d *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	what := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	d.asked[what]++
	w.Header().Set("Api-Version", "1.41")
	switch {
	case d.podman:
		w.Header().Set("Libpod-Api-Version", d.version)
	case d.proxied:
		w.Header().Set("Server", "nginx")
	default:
		w.Header().Set("Server", "Docker/"+d.version+" (linux)")
	}
	switch what {
	case "_ping":
	case "version":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"ApiVersion":"1.41","Version":%q,"Arch":"amd64"}`, d.version)
	case "info":
		fmt.Fprintf(w, `{"host":{"security":{"rootless":%v}}}`, d.rootless)
	default:
		http.NotFound(w, r)
	}
}

// TestProbe checks that each daemon is asked once for its version, which takes Podman 0.2 s to a
// second and Docker 10 ms, and that another daemon at the same address is noticed.
func TestProbe(t *testing.T) {
	for _, who := range []string{"docker", "podman", "proxied"} {
		podman := who == "podman"
		socket := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		d := &standIn{version: "4.3.1", podman: podman, proxied: who == "proxied", rootless: true, asked: map[string]int{}}
		s := &http.Server{Handler: d}
		var served sync.WaitGroup
		served.Go(func() { _ = s.Serve(l) })
		c, err := New(Options{Podman: podman, Host: "unix://" + socket})
		if err != nil {
			t.Fatal(err)
		}
		// probe returns the number of requests for the version, and the daemon's name.
		probe := func(version string, isPodman, rootless bool) int {
			t.Helper()
			d.mu.Lock()
			d.version, d.podman, d.rootless = version, isPodman, rootless
			before := d.asked["version"]
			d.mu.Unlock()
			if err := c.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
			known := c.Known()
			if got, err := c.Rootless(t.Context(), known, system.Info{}); err != nil || got != (rootless && isPodman) || known.Version != version || known.Podman != isPodman {
				t.Errorf("it is %+v, rootless: %v, %v", known, got, err)
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.asked["version"] - before
		}
		first := probe("4.3.1", podman, true)
		again := probe("4.3.1", podman, true) + probe("4.3.1", podman, true)
		if want := map[string]int{"proxied": 2}[who]; first != 1 || again != want {
			t.Errorf("%s: asked for its version %d times, then %d times, want 1 and %d", who, first, again, want)
		}
		for _, other := range []int{probe("4.4.0", podman, false), probe("4.4.0", !podman, true), probe("20.10.24", false, false)} {
			if other != 1 {
				t.Errorf("another daemon was asked for its version %d times", other)
			}
		}
		_ = s.Close()
		served.Wait()
		if err := c.Probe(t.Context()); !keyway.Is(err, keyway.EngineDown) && !keyway.Is(err, keyway.EngineAbsent) {
			t.Errorf("nobody is there: %v", err)
		}
	}
}
