package docker_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
)

// registry serves images by the distribution protocol. The name of an image chooses the fault with
// which it is served.
type registry struct {
	host    string
	blobs   map[string][]byte
	private bool // asks for a password
	// pulling is closed when half of the slow image's layer was sent; release sends the rest.
	pulling chan struct{}
	release chan struct{}
	once    sync.Once
	// hook answers for blobs instead of the registry, if there is one.
	hook func(w http.ResponseWriter, q *http.Request, digest string, data []byte)
}

const (
	typeManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	password     = "s3cret-of-no-other-test"
)

func startRegistry(t *testing.T) *registry {
	t.Helper()
	r := &registry{blobs: map[string][]byte{}, pulling: make(chan struct{}), release: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(r.serve))
	r.host = strings.TrimPrefix(server.URL, "http://")
	t.Cleanup(func() {
		select {
		case <-r.release:
		default:
			close(r.release)
		}
		server.CloseClientConnections()
		server.Close()
	})
	return r
}

func (r *registry) add(data []byte) (digest string) {
	sum := sha256.Sum256(data)
	digest = "sha256:" + hex.EncodeToString(sum[:])
	r.blobs[digest] = data
	return digest
}

// image makes a manifest for an image of the tool.
func (r *registry) image(t *testing.T, arch string) []byte { return r.layered(t, arch, r.layer(t)) }

// onTopOf makes a manifest for an image with one more layer than that of the given name.
func (r *registry) onTopOf(t *testing.T, name string) []byte {
	var below struct {
		Layers []struct{ Digest string }
	}
	if err := json.Unmarshal(r.blobs["manifest "+name], &below); err != nil {
		t.Fatal(err)
	}
	return r.layered(t, runtime.GOARCH, below.Layers[0].Digest, r.layer(t))
}

// layer makes a layer with the tool.
func (r *registry) layer(t *testing.T) (digest string) {
	layer := append(randomEntry(t), toolTar(t)...)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(layer); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	digest = r.add(packed.Bytes())
	sum := sha256.Sum256(layer)
	r.blobs["diff "+digest] = []byte("sha256:" + hex.EncodeToString(sum[:]))
	return digest
}

func (r *registry) layered(t *testing.T, arch string, layers ...string) []byte {
	var diffs []string
	var all []any
	for _, digest := range layers {
		diffs = append(diffs, string(r.blobs["diff "+digest]))
		all = append(all, map[string]any{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(r.blobs[digest]), "digest": digest})
	}
	config := marshal(t, map[string]any{
		"architecture": arch, "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	return marshal(t, map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest,
		"config": map[string]any{"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": r.add(config)},
		"layers": all,
	})
}

// randomEntry returns the beginning of a tar with random content. Without it, all images of these
// tests would have the same layer, which a daemon pulls once.
func randomEntry(t *testing.T) []byte {
	t.Helper()
	content := make([]byte, 256<<10)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "random", Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil { // without the end, so that more can follow
		t.Fatal(err)
	}
	return out.Bytes()
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (r *registry) serve(w http.ResponseWriter, req *http.Request) {
	parts := strings.Split(strings.TrimPrefix(req.URL.Path, "/v2/"), "/")
	_, pass, _ := req.BasicAuth()
	switch {
	case r.private && pass != password:
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	case len(parts) < 3: // the check for a registry
	case parts[0] == "limited":
		refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "You have reached your pull rate limit.")
	case parts[1] == "manifests":
		r.manifest(w, parts[0], parts[2])
	case parts[1] == "blobs":
		if r.hook != nil {
			r.hook(w, req, parts[2], r.blobs[parts[2]])
			return
		}
		r.blob(w, parts[0], parts[2])
	}
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
}

func (r *registry) manifest(w http.ResponseWriter, name, ref string) {
	data, kind := r.blobs["manifest "+name], typeManifest
	if strings.HasPrefix(ref, "sha256:") {
		data = r.blobs[ref]
	}
	if bytes.Contains(data, []byte(typeList)) {
		kind = typeList
	}
	if data == nil {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	}
	sum := sha256.Sum256(data)
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Docker-Content-Digest", "sha256:"+hex.EncodeToString(sum[:]))
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	_, _ = w.Write(data)
}

func (r *registry) blob(w http.ResponseWriter, name, digest string) {
	data := r.blobs[digest]
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	if name != "slow" || len(data) < 1<<10 {
		_, _ = w.Write(data)
		return
	}
	_, _ = w.Write(data[:len(data)/2])
	w.(http.Flusher).Flush()
	r.once.Do(func() { close(r.pulling) })
	<-r.release
	_, _ = w.Write(data[len(data)/2:])
}

// publish gives a manifest a name; by its digest it is known, too.
func (r *registry) publish(name string, manifest []byte) (digest string) {
	r.blobs["manifest "+name] = manifest
	return r.add(manifest)
}

func (r *registry) ref(name string) string { return r.host + "/" + name + ":1" }

// pulls returns a world whose image comes from a registry.
func pulls(t *testing.T) (world, *registry) {
	r := startRegistry(t)
	w := onDaemon(t, localDocker).world(t)
	for _, name := range []string{"good", "private", "slow"} {
		r.publish(name, r.image(t, runtime.GOARCH))
		t.Cleanup(func() { _ = w.tool("rmi", "-f", r.ref(name)).Run() })
	}
	return w, r
}

func TestPull(t *testing.T) {
	w, r := pulls(t)
	spec := w.Spec(t, "pulled")
	spec.Image = r.ref("good")
	var news []keyway.Progress
	made, err := w.Engine.Create(enginetest.Context(t), spec, func(p keyway.Progress) { news = append(news, p) })
	if err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if got := w.Run(t, made, "env KEYWAY_WORKSPACE"); got != "pulled" {
		t.Errorf("inside: %q", got)
	}
	if err := w.Engine.Remove(enginetest.Context(t), "pulled"); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	// The daemon does not count bytes that arrived before its first report.
	for _, p := range news {
		if p.Message != "pulling "+spec.Image || p.Total < p.Done {
			t.Errorf("the news are %v", news)
		}
	}
	if len(news) == 0 {
		t.Error("there is no news")
	}
}

func TestPullWithLogin(t *testing.T) {
	w, r := pulls(t)
	r.private = true
	spec := w.Spec(t, "private")
	spec.Image = r.ref("private")
	_, err := w.Engine.Create(enginetest.Context(t), spec, enginetest.Quiet)
	enginetest.WantKind(t, err, keyway.ImageNotFound)
	if !strings.Contains(keyway.AsError(err).Help(), "docker login "+r.host) {
		t.Errorf("the next step is not to log in: %s", enginetest.Full(err))
	}
	w.WantNothingOf(t, "private")
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.host, base64.StdEncoding.EncodeToString([]byte("user:"+password)))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Create(t, spec)
}

func TestPullCancelled(t *testing.T) {
	w, r := pulls(t)
	spec := w.Spec(t, "slow")
	spec.Image = r.ref("slow")
	ctx, cancel := context.WithCancel(enginetest.Context(t))
	defer cancel()
	var news []keyway.Progress
	ended := make(chan error, 1)
	go func() {
		_, err := w.Engine.Create(ctx, spec, func(p keyway.Progress) { news = append(news, p) })
		ended <- err
	}()
	select {
	case <-r.pulling:
	case err := <-ended:
		t.Fatalf("it ended before it was cancelled: %v", err)
	}
	// While the workspace is being made, no other request can use its name.
	_, err := w.Engine.Create(enginetest.Context(t), w.Spec(t, "slow"), enginetest.Quiet)
	enginetest.WantKind(t, err, keyway.NameTaken)
	cancel()
	if err := <-ended; !keyway.Is(keyway.AsError(err), keyway.Interrupted) {
		t.Errorf("cancelled, Create says: %v", enginetest.Full(err))
	}
	if left := w.Left(t); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestPullRefused(t *testing.T) {
	w, r := pulls(t)
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	foreign := r.image(t, other)
	digest := r.publish("foreign", foreign)
	r.publish("foreign-list", marshal(t, map[string]any{
		"schemaVersion": 2, "mediaType": typeList,
		"manifests": []any{map[string]any{
			"mediaType": typeManifest, "size": len(foreign), "digest": digest, "platform": map[string]string{"architecture": other, "os": "linux"},
		}},
	}))
	t.Cleanup(func() { _ = w.tool("rmi", "-f", r.ref("foreign")).Run() })
	for image, says := range map[string]string{
		r.ref("nothing"):           "there is no image",
		r.ref("limited"):           "allows no more pulls",
		r.ref("foreign"):           "it is for " + other,
		r.ref("foreign-list"):      "does not run on this machine",
		closedPort + "/image:1":    "registry cannot be reached",
		"registry.invalid/image:1": "registry cannot be reached",
		strings.Repeat("0", 64):    "there is no image",
		"keyway-test.invalid/x@sha256:" + strings.Repeat("0", 64): "registry cannot be reached",
	} {
		t.Run(says+" "+image, func(t *testing.T) {
			spec := w.Spec(t, "refused")
			spec.Image = image
			_, err := w.Engine.Create(enginetest.Context(t), spec, enginetest.Quiet)
			enginetest.WantKind(t, err, keyway.ImageNotFound)
			if !strings.Contains(err.Error(), says) {
				t.Errorf("it says: %s", enginetest.Full(err))
			}
			t.Log(enginetest.Full(err))
			w.WantNothingOf(t, "refused")
		})
	}
}

// closedPort is an address of this machine on which no program listens: only root could.
const closedPort = "127.0.0.1:1"
