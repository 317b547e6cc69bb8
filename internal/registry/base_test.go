package registry

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"keyway/internal/keyway"
)

var arches = []string{"amd64", "arm64"}

func quiet(keyway.Progress) {}

// TestFetchAndPush checks that a pushed image equals the fetched one, for one build and for a list.
func TestFetchAndPush(t *testing.T) {
	repo := serve(t)
	for tag, want := range map[string]int{":both": 2, ":nightly": 1} {
		base, err := Fetch(t.Context(), repo+tag, arches)
		if err != nil || len(base.Builds) != want || !keyway.IsDigest(base.Digest) {
			t.Fatalf("%s: %+v, %v", tag, base, err)
		}
		var done atomic.Int64
		digest, err := Push(t.Context(), repo+"-copy"+tag, base.Builds, func(p keyway.Progress) { done.Store(p.Done) })
		if err != nil {
			t.Fatalf("%s: %v", tag, err)
		}
		again, err := Fetch(t.Context(), repo+"-copy"+tag, arches)
		if err != nil || again.Digest != digest || len(again.Builds) != want {
			t.Errorf("%s: pushed %s, and there is %s, %v", tag, digest, again.Digest, err)
		}
		for i, b := range again.Builds {
			got, _ := b.Image.Digest()
			if was, _ := base.Builds[i].Image.Digest(); got != was {
				t.Errorf("%s: the build for %s is another", tag, b.Platform.Architecture)
			}
		}
	}
	if one, err := Fetch(t.Context(), repo+":both", []string{"arm64"}); err != nil || len(one.Builds) != 1 || one.Builds[0].Platform.Architecture != "arm64" {
		t.Errorf("one of two: %+v, %v", one, err)
	}
	if none, err := Fetch(t.Context(), repo+":nightly", []string{"arm64"}); err != nil || len(none.Builds) != 0 {
		t.Errorf("none of one: %+v, %v", none, err)
	}
	if _, err := Fetch(t.Context(), repo+":2.8-cuda12.6-devel", arches); !keyway.Is(err, keyway.ImageNotFound) || !strings.Contains(keyway.AsError(err).Next, "nearest") {
		t.Errorf("a wrong tag: %v", err)
	}
}

// TestPushIsRefused checks the error for a login without permission to push, and its advice.
func TestPushIsRefused(t *testing.T) {
	for _, bearer := range []bool{false, true} {
		r, image := newClosed(t, bearer)
		server := strings.TrimPrefix(r.URL, "http://")
		logIn(t, server, password, false)
		base, err := Fetch(t.Context(), image, arches)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Push(t.Context(), image+"-more", base.Builds, quiet); err != nil {
			t.Errorf("with a login: %v", err)
		}
		logIn(t, server, "wrong", false)
		if _, err := Push(t.Context(), image+"-other", base.Builds, quiet); !keyway.Is(err, keyway.Denied) || !strings.Contains(keyway.AsError(err).Next, "docker login "+server) {
			t.Errorf("with the wrong login: %v", err)
		}
		logIn(t, server, password, false)
		if ref, err := name.ParseReference(image + "-other"); err != nil || tagged(ref) {
			t.Errorf("the refused tag is there: %v", err)
		}
	}
}

func tagged(ref name.Reference) bool {
	_, err := remote.Head(ref, remote.WithAuthFromKeychain(authn.DefaultKeychain))
	return err == nil
}

// TestNoPushWhereOthersListen checks that the login goes only over TLS or to this machine.
func TestNoPushWhereOthersListen(t *testing.T) {
	const private = "10.1.2.3:5000"
	r, image := newClosed(t, false)
	own := r.Listener.Addr().String()
	logIn(t, own, password, false)
	base, err := Fetch(t.Context(), image, arches)
	if err != nil {
		t.Fatal(err)
	}
	logIn(t, private, password, false)
	everythingLeadsTo(t, own)
	r.mu.Lock()
	r.heard = nil
	r.mu.Unlock()
	if _, err := Push(t.Context(), private+"/team/model:1", base.Builds, quiet); !keyway.Is(err, keyway.Untrusted) {
		t.Errorf("pushed: %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.heard {
		if strings.Contains(line, "Basic") {
			t.Errorf("the login was sent: %s", line)
		}
	}
}
