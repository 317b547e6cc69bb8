package docker

import (
	"archive/tar"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moby/moby/api/types/mount"

	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/images"
	"keyway/internal/keyway"
)

// taker is a daemon that accepts archives and makes one container.
type taker struct {
	mu     sync.Mutex
	took   []string // container and file of each
	mounts []mount.Mount
}

func (k *taker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, call, _ := strings.Cut(r.URL.Path, "/containers/")
	switch {
	case strings.HasSuffix(r.URL.Path, "/_ping"):
		w.Header().Set("Api-Version", "1.44")
	case r.Method == http.MethodPost && call == "create":
		var asked struct {
			HostConfig struct{ Mounts []mount.Mount }
		}
		_ = json.NewDecoder(r.Body).Decode(&asked)
		k.mounts = asked.HostConfig.Mounts
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"Id":"helper"}`)
	case r.Method == http.MethodPut:
		k.take(strings.TrimSuffix(call, "/archive"), r.Body)
	case r.Method == http.MethodDelete && call == "helper":
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, `{"message":"no such container"}`, http.StatusNotFound)
	}
}

func (k *taker) take(container string, archive io.Reader) {
	for files := tar.NewReader(archive); ; {
		h, err := files.Next()
		if err != nil {
			return
		}
		k.took = append(k.took, strings.TrimSpace(container+" "+h.Name))
	}
}

// clientOf returns a client of a daemon that h serves.
func clientOf(t *testing.T, h http.Handler) *daemon.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "taker") // short, as the paths of sockets must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	c, err := daemon.New(daemon.Options{Host: "unix://" + socket})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestVolumesThatAreShut checks new volumes, some of which are read-only to their first workspace.
// They are opened to its user through a container that can write to them, because another workspace
// may write. A volume without a name belongs to one workspace only.
func TestVolumesThatAreShut(t *testing.T) {
	k := &taker{}
	e := &Engine{client: clientOf(t, k), owner: "7"}
	m := made{id: "workspace", spec: keyway.Spec{Name: "x", Image: "i", Process: keyway.Process{User: "1000:100"},
		Files: keyway.Files{Secrets: []keyway.Secret{{Name: "token", Value: []byte("s3cret")}}}}}
	volume := func(source, target string, readOnly bool) mount.Mount {
		return mount.Mount{Type: mount.TypeVolume, Source: source, Target: target, ReadOnly: readOnly}
	}
	fresh := []mount.Mount{volume("keyway-7-shut", "/mnt/shut", true), volume("keyway-7-open", "/mnt/open", false), volume("", "/mnt/none", true)}
	if err := e.furnishVolumes(context.Background(), m, images.Facts{}, fresh); err != nil {
		t.Fatal(err)
	}
	slices.Sort(k.took)
	if want := []string{"helper mnt/shut/", "workspace mnt/open/", "workspace run/secrets/", "workspace run/secrets/token"}; !slices.Equal(k.took, want) {
		t.Errorf("taken are %q, want %q", k.took, want)
	}
	if len(k.mounts) != 1 || k.mounts[0].Source != "keyway-7-shut" || k.mounts[0].ReadOnly {
		t.Errorf("the helper has %+v", k.mounts)
	}
	if !fresh[0].ReadOnly {
		t.Error("the workspace's own mount was changed")
	}
}
