package layers

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keyway/internal/keyway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry has blobs. serve may answer in its place, with a fault.
type registry struct {
	*httptest.Server
	blobs map[string][]byte
	serve func(w http.ResponseWriter, r *http.Request, blob []byte) (done bool) // nil: honest

	mu    sync.Mutex
	sent  map[string]int64 // bytes of each blob
	heads []http.Header
}

func newRegistry(t *testing.T) *registry {
	r := &registry{blobs: map[string][]byte{}, sent: map[string]int64{}}
	r.Server = httptest.NewServer(http.HandlerFunc(r.handle))
	t.Cleanup(r.Close)
	return r
}

func (r *registry) handle(w http.ResponseWriter, q *http.Request) {
	digest := q.URL.Path[strings.LastIndexByte(q.URL.Path, '/')+1:]
	r.mu.Lock()
	r.heads = append(r.heads, q.Header.Clone())
	blob, serve := r.blobs[digest], r.serve
	r.mu.Unlock()
	counted := &countingWriter{ResponseWriter: w, add: func(n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sent[digest] += int64(n)
	}}
	if serve != nil && serve(counted, q, blob) {
		return
	}
	http.ServeContent(counted, q, "", time.Time{}, bytes.NewReader(blob))
}

type countingWriter struct {
	http.ResponseWriter
	add func(int)
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.add(n)
	return n, err
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// image returns a pull of an image with layers of these sizes.
func (r *registry) image(t *testing.T, sizes ...int) keyway.Pull {
	t.Helper()
	p := keyway.Pull{Image: "team/image:1", Repository: r.URL + "/v2/team/image", Config: []byte("{}")}
	for _, size := range sizes {
		data := make([]byte, size)
		if _, err := rand.Read(data); err != nil {
			t.Fatal(err)
		}
		r.blobs[digestOf(data)] = data
		p.Layers = append(p.Layers, keyway.Layer{Digest: digestOf(data), DiffID: digestOf(data), Size: int64(size)})
	}
	return p
}

func (r *registry) counted(p keyway.Pull, i int) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent[p.Layers[i].Digest]
}

func storeIn(dir string) Store { return Store{Dir: dir, Stall: time.Minute, Pause: time.Millisecond} }

func quiet(keyway.Progress) {}

// contentsOf returns the files of an archive.
func contentsOf(t *testing.T, h *Held, p keyway.Pull) map[string][]byte {
	t.Helper()
	var out bytes.Buffer
	if err := h.Archive(&out, p); err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for r := tar.NewReader(&out); ; {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if all[e.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOnlyMissingLayersAreFetched(t *testing.T) {
	r := newRegistry(t)
	p := r.image(t, 3000, 500_000, 40)
	p.Layers = append(p.Layers, p.Layers[1]) // an image may have one twice
	var last keyway.Progress
	h, err := storeIn(t.TempDir()).Fetch(t.Context(), p, 1, func(p keyway.Progress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	got := contentsOf(t, h, p)
	if len(got) != 4 || !bytes.Equal(got[p.Layers[1].Digest[7:]+".tar"], r.blobs[p.Layers[1].Digest]) || !strings.Contains(string(got["manifest.json"]), p.Layers[0].Digest[7:]) {
		t.Errorf("the archive has %d files: %s", len(got), got["manifest.json"])
	}
	if r.counted(p, 0) != 0 || r.counted(p, 1) != 500_000 || last.Done != 500_040 || last.Total != 500_040 {
		t.Errorf("sent %v, told %+v", r.sent, last)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(h.files[1].Name()); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestACutLayerGoesOn interrupts each answer in its middle, and checks that no byte comes twice.
// The first fetch gives up, as when a node is killed, and the second continues there.
func TestACutLayerGoesOn(t *testing.T) {
	r := newRegistry(t)
	p := r.image(t, 1<<20)
	cuts, dead := 0, false
	r.serve = func(w http.ResponseWriter, q *http.Request, blob []byte) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if cuts++; cuts > 2 && !dead {
			dead = true
		}
		return false
	}
	inner := r.serve
	r.serve = func(w http.ResponseWriter, q *http.Request, blob []byte) bool {
		inner(w, q, blob)
		r.mu.Lock()
		cut, gone := cuts <= 2, dead && cuts < 100
		r.mu.Unlock()
		if gone {
			panic(http.ErrAbortHandler)
		}
		if !cut {
			return false
		}
		from := 0
		fmt.Sscanf(q.Header.Get("Range"), "bytes=%d-", &from)
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(blob)-1, len(blob)))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(blob[from : from+(len(blob)-from)/2])
		panic(http.ErrAbortHandler)
	}
	s := storeIn(t.TempDir())
	_, err := s.Fetch(t.Context(), p, 0, quiet)
	var unreached UnreachedError
	if !keyway.Is(err, keyway.Unreachable) || errors.As(err, &unreached) {
		t.Fatalf("a registry that is gone: %v", err)
	}
	before := r.counted(p, 0)
	r.mu.Lock()
	cuts = 100
	r.mu.Unlock()
	h, err := s.Fetch(t.Context(), p, 0, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	// Bytes that the registry had written when a connection broke need not have arrived.
	if all := r.counted(p, 0); before == 0 || all > 1<<20+256<<10 || all-before >= 1<<20 {
		t.Errorf("of %d bytes %d were sent, %d of them at first", 1<<20, all, before)
	}
}

// TestARegistryThatLies checks that data without the requested digest is not passed on, and that
// none of it stays to spoil the next attempt.
func TestARegistryThatLies(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(w http.ResponseWriter, q *http.Request, blob []byte) bool
		kind  keyway.Kind // empty: the fetch succeeds
	}{
		"another layer": {func(w http.ResponseWriter, q *http.Request, blob []byte) bool {
			_, _ = w.Write(bytes.Repeat([]byte{1}, len(blob)))
			return true
		}, keyway.Untrusted},
		"without end": {func(w http.ResponseWriter, q *http.Request, blob []byte) bool {
			for junk := make([]byte, 64<<10); ; {
				if _, err := w.Write(junk); err != nil {
					return true
				}
			}
		}, keyway.Untrusted},
		"more than all": {func(w http.ResponseWriter, q *http.Request, blob []byte) bool {
			_, _ = w.Write(append(bytes.Clone(blob), "more"...))
			return true
		}, ""},
		"short": {func(w http.ResponseWriter, q *http.Request, blob []byte) bool {
			_, _ = w.Write(nil)
			return true
		}, keyway.Unreachable},
		"another login": {func(w http.ResponseWriter, q *http.Request, blob []byte) bool {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}, keyway.Denied},
		"none": {func(w http.ResponseWriter, q *http.Request, blob []byte) bool { http.NotFound(w, q); return true }, keyway.ImageNotFound},
		"in a circle": {func(w http.ResponseWriter, q *http.Request, blob []byte) bool {
			http.Redirect(w, q, q.URL.Path, http.StatusTemporaryRedirect)
			return true
		}, keyway.Unreachable},
		"an error": {func(w http.ResponseWriter, q *http.Request, blob []byte) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}, keyway.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			p := r.image(t, 100_000)
			r.serve = c.serve
			s := storeIn(t.TempDir())
			h, err := s.Fetch(t.Context(), p, 0, quiet)
			if c.kind == "" && err != nil || c.kind != "" && !keyway.Is(err, c.kind) {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				h.Close()
				return
			}
			r.mu.Lock()
			r.serve = nil
			r.mu.Unlock()
			if h, err = s.Fetch(t.Context(), p, 0, quiet); err != nil {
				t.Fatalf("afterwards: %v", err)
			}
			if got := contentsOf(t, h, p)[p.Layers[0].Digest[7:]+".tar"]; !bytes.Equal(got, r.blobs[p.Layers[0].Digest]) {
				t.Error("another layer than was asked for")
			}
			h.Close()
		})
	}
}

// TestARegistryWithoutRanges checks a registry that always answers from the beginning, or with
// another part.
func TestARegistryWithoutRanges(t *testing.T) {
	for name, odd := range map[string]func(w http.ResponseWriter, blob []byte){
		"the whole": func(w http.ResponseWriter, blob []byte) { _, _ = w.Write(blob) },
		"another part": func(w http.ResponseWriter, blob []byte) {
			w.Header().Set("Content-Range", "bytes 1-2/100000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(blob[1:3])
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			p := r.image(t, 100_000)
			s := storeIn(t.TempDir())
			if err := os.WriteFile(s.Dir+"/"+p.Layers[0].Digest[7:], r.blobs[p.Layers[0].Digest][:60_000], 0o600); err != nil {
				t.Fatal(err)
			}
			r.serve = func(w http.ResponseWriter, q *http.Request, blob []byte) bool {
				if q.Header.Get("Range") == "" {
					return false
				}
				odd(w, blob)
				return true
			}
			h, err := s.Fetch(t.Context(), p, 0, quiet)
			if err != nil {
				t.Fatal(err)
			}
			h.Close()
		})
	}
}

// TestTheLoginGoesNowhereElse checks a registry that redirects to another host, as many do.
func TestTheLoginGoesNowhereElse(t *testing.T) {
	store, r := newRegistry(t), newRegistry(t)
	p := r.image(t, 1000)
	store.blobs = r.blobs
	p.Login = keyway.Login{Registry: "127.0.0.1", Token: "s3cret"}
	r.serve = func(w http.ResponseWriter, q *http.Request, blob []byte) bool {
		// The same host by another port, and by another name.
		http.Redirect(w, q, store.URL+q.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
	h, err := storeIn(t.TempDir()).Fetch(t.Context(), p, 0, quiet)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	if len(r.heads) != 1 || r.heads[0].Get("Authorization") != "Bearer s3cret" {
		t.Errorf("the registry has heard %v", r.heads)
	}
	if len(store.heads) != 1 || strings.Contains(fmt.Sprint(store.heads), "s3cret") || store.heads[0].Get("Referer") != "" {
		t.Errorf("the other host has heard %v", store.heads)
	}
}

// TestNobodyIsWaitedForWithoutEnd checks that a fetch from a registry that stops sending is
// repeated, and then given up.
func TestNobodyIsWaitedForWithoutEnd(t *testing.T) {
	r := newRegistry(t)
	p := r.image(t, 100_000)
	once := false
	r.serve = func(w http.ResponseWriter, q *http.Request, blob []byte) bool {
		r.mu.Lock()
		first := !once
		once = true
		r.mu.Unlock()
		if !first {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		_, _ = w.Write(blob[:50_000])
		_ = http.NewResponseController(w.(*countingWriter).ResponseWriter).Flush()
		<-q.Context().Done()
		return true
	}
	s := storeIn(t.TempDir())
	s.Stall = 200 * time.Millisecond
	h, err := s.Fetch(t.Context(), p, 0, quiet)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	if n := r.counted(p, 0); n != 100_000 {
		t.Errorf("%d bytes were sent", n)
	}
}

// TestTwoFetchTheSame checks that fetches of one image at the same time all succeed: the others
// wait for the first.
func TestTwoFetchTheSame(t *testing.T) {
	r := newRegistry(t)
	p := r.image(t, 200_000, 100)
	s := storeIn(t.TempDir())
	errs := make(chan error)
	for range 4 {
		go func() {
			h, err := s.Fetch(context.Background(), p, 0, quiet)
			if err == nil {
				err = h.Archive(io.Discard, p)
				err = errors.Join(err, h.Close())
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestOldPartsGo(t *testing.T) {
	s := storeIn(t.TempDir())
	for _, name := range []string{"old", "new"} {
		if err := os.WriteFile(s.Dir+"/"+name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-keptFor - time.Hour)
	if err := os.Chtimes(s.Dir+"/old", old, old); err != nil {
		t.Fatal(err)
	}
	s.sweep(time.Now())
	if left, err := os.ReadDir(s.Dir); err != nil || len(left) != 1 || left[0].Name() != "new" {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestAddresses checks that no secret is sent over an unencrypted connection.
func TestAddresses(t *testing.T) {
	secret := keyway.Login{Registry: "ghcr.io", Token: "t"}
	for address, ok := range map[string]struct{ open, login bool }{
		"https://ghcr.io/v2/x": {true, true}, "http://127.0.0.1:5000/v2/x": {true, true}, "http://[::1]:5000/v2/x": {true, true},
		"http://ghcr.io/v2/x": {true, false}, "http://127.0.0.1.evil.io/v2/x": {true, false},
		"ghcr.io/v2/x": {}, "file:///v2/x": {}, "https://a:b@ghcr.io/v2/x": {}, "https://ghcr.io/v2/x?a": {}, "https://ghcr.io/etc": {}, "": {},
	} {
		p := keyway.Pull{Image: "x", Repository: address}
		if err := checkAddress(p); (err == nil) != ok.open {
			t.Errorf("%s: %v", address, err)
		}
		p.Login = secret
		if err := checkAddress(p); (err == nil) != ok.login {
			t.Errorf("%s with a login: %v", address, err)
		}
	}
}

// TestAFullDiskKeepsNoParts checks that the parts of layers stay for the next try after every failure
// but that of a full disk, which they would keep full.
func TestAFullDiskKeepsNoParts(t *testing.T) {
	for _, c := range []struct {
		err   error
		stays bool
	}{
		{keyway.Errorf(keyway.Unreachable, "incomplete"), true},
		{context.Canceled, true},
		{keyway.Errorf(keyway.NoSpace, "no space left for the image"), false},
		{fmt.Errorf("open: %w", syscall.ENOSPC), false},
	} {
		path := filepath.Join(t.TempDir(), "part")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := (&Held{files: []*os.File{nil, f}}).after(c.err); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); (err == nil) != c.stays {
			t.Errorf("after %v: %v", c.err, err)
		}
	}
}
