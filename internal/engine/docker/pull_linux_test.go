package docker_test

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"keyway/internal/engine"
	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
	"keyway/internal/node"
	reg "keyway/internal/registry"
)

// counted is a registry that serves ranges, counts the bytes that it sends, and may cut a layer.
type counted struct {
	*registry
	mu   sync.Mutex
	sent map[string]int64 // of each blob, by its digest
	cut  int              // number of answers that are cut in half
}

// counting puts c before the registry: with a login, ranges and cuts.
func counting(r *registry) *counted {
	c := &counted{registry: r, sent: map[string]int64{}}
	r.hook = c.blob
	return c
}

// blob answers with a layer or a part of one.
func (c *counted) blob(w http.ResponseWriter, q *http.Request, digest string, data []byte) {
	from := 0
	if _, err := fmt.Sscanf(q.Header.Get("Range"), "bytes=%d-", &from); err == nil && from < len(data) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		w.Header().Set("Content-Length", fmt.Sprint(len(data)-from))
		w.WriteHeader(http.StatusPartialContent)
	} else {
		from = 0
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	}
	data = data[from:]
	c.mu.Lock()
	cut := c.cut > 0 && len(data) > 1<<10
	if cut {
		c.cut--
		data = data[:len(data)/2]
	}
	c.mu.Unlock()
	n, _ := w.Write(data)
	c.mu.Lock()
	c.sent[digest] += int64(n)
	c.mu.Unlock()
	if cut {
		panic(http.ErrAbortHandler)
	}
}

// total returns the bytes that were sent of all blobs of more than a KiB, which are layers.
func (c *counted) total() (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for digest, sent := range c.sent {
		if len(c.blobs[digest]) > 1<<10 {
			n += sent
		}
	}
	return n
}

// TestPullWithTheLaptopsLogin checks that the place gets the laptop's login for one pull and stores
// none, and that the image arrives completely although the registry cuts it. No byte comes twice
// except those under way, and the daemon itself requests no layer.
func TestPullWithTheLaptopsLogin(t *testing.T) {
	w, r := pulls(t)
	r.private = true
	c := counting(r)
	laptop := t.TempDir()
	t.Setenv("HOME", laptop)
	t.Setenv("DOCKER_CONFIG", laptop)
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.host, base64.StdEncoding.EncodeToString([]byte("user:"+password)))
	if err := os.WriteFile(filepath.Join(laptop, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	image := r.ref("private")
	p, err := reg.Find(t.Context(), image, runtime.GOARCH)
	if err != nil {
		t.Fatal(enginetest.Full(err))
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // from here on, this process is the place
	n := node.New(engine.HomesIn(w.root), nil, w.Engine)
	without := p
	without.Login = keyway.Login{}
	if err := n.PullImage(enginetest.Context(t), "", without, enginetest.Quiet); err == nil {
		t.Fatal("the registry wants no login")
	}
	c.cut = 2
	var news []string
	if err := n.PullImage(enginetest.Context(t), "", p, func(p keyway.Progress) { news = append(news, p.Message) }); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if all := c.total(); all < p.Size(0) || all > p.Size(0)+64<<10 {
		t.Errorf("of %d bytes %d were sent: %v", p.Size(0), all, c.sent)
	}
	if said := strings.Join(news, "\n"); !strings.Contains(said, "are to come") || !strings.Contains(said, "are free") {
		t.Errorf("the news are %s", said)
	}
	spec := w.Spec(t, "private")
	spec.Image = image
	w.Create(t, spec)
	byDigest := r.host + "/private@" + r.add(r.blobs["manifest private"])
	if _, err := n.ImageLayers(enginetest.Context(t), "", byDigest); err != nil {
		t.Errorf("it has no digest: %v", err)
	}
	nothingOf(t, password, w.root)
}

// TestOnlyMissingLayersArePulled checks a pull by digest at a place where another image has the
// lower layer already.
func TestOnlyMissingLayersArePulled(t *testing.T) {
	w, r := pulls(t)
	c := counting(r)
	t.Setenv("HOME", t.TempDir())
	n := node.New(engine.HomesIn(w.root), nil, w.Engine)
	first, err := reg.Find(t.Context(), r.ref("good"), runtime.GOARCH)
	if err == nil {
		err = n.PullImage(enginetest.Context(t), "", first, enginetest.Quiet)
	}
	if err != nil {
		t.Fatal(enginetest.Full(err))
	}
	before := c.total()
	digest := r.publish("more", r.onTopOf(t, "good"))
	image := r.host + "/more@" + digest
	t.Cleanup(func() { _ = w.tool("rmi", "-f", image).Run() })
	p, err := reg.Find(t.Context(), image, runtime.GOARCH)
	if err != nil || len(p.Layers) != 2 {
		t.Fatal(p.Layers, err)
	}
	if err := n.PullImage(enginetest.Context(t), "", p, enginetest.Quiet); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if got := c.total() - before; got != p.Layers[1].Size {
		t.Errorf("%d bytes were sent, and the missing layer has %d", got, p.Layers[1].Size)
	}
	if l, err := n.ImageLayers(enginetest.Context(t), "", image); err != nil || len(l.Layers) != 2 {
		t.Errorf("%+v, %v", l, err)
	}
}

// nothingOf fails if a file below dirs contains the secret, or a process shows it.
func nothingOf(t *testing.T, secret string, dirs ...string) {
	t.Helper()
	look := func(path string) {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), secret) {
			t.Errorf("%s has the login", path)
		}
	}
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				look(path)
			}
			return nil
		})
	}
	for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			look(path)
		}
	}
}
