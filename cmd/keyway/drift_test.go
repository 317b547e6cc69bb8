package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	containers "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"keyway/internal/keyway"
	"keyway/internal/pin"
	"keyway/internal/registry"
)

// TestAMovedTagIsNamed checks the difference after the tag of a pinned image has moved to another
// image.
func TestAMovedTagIsNamed(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := httptest.NewServer(containers.New(containers.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	tag, err := name.NewTag(strings.TrimPrefix(s.URL, "http://") + "/train:1")
	if err != nil {
		t.Fatal(err)
	}
	push := func() {
		t.Helper()
		image, err := random.Image(1024, 1)
		if err == nil {
			err = remote.Write(tag, image)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	push()
	facts, err := registry.Look(t.Context(), tag.String(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	p := pin.FromImage("train", "amd64", keyway.Spec{Image: tag.String()}, facts)
	if moved, err := tagMoved(t.Context(), p); err != nil || len(moved) != 0 {
		t.Fatalf("it has moved: %+v, %v", moved, err)
	}
	push()
	moved, err := tagMoved(t.Context(), p)
	if err != nil || len(moved) != 1 || moved[0].Field != "tag" || moved[0].Want != facts.Digest || moved[0].Found == facts.Digest || moved[0].Found == "" {
		t.Errorf("%+v, %v", moved, err)
	}
	s.Close()
	if moved, err := tagMoved(t.Context(), p); !keyway.Is(err, keyway.Unreachable) || len(moved) != 0 || !strings.Contains(err.Error(), "not known") || !strings.Contains(keyway.AsError(err).Next, "--ignore tag") {
		t.Errorf("a registry that does not answer: %+v, %+v", moved, err)
	}
	p.Image.Reference = "localhost/train:1"
	if moved, err := tagMoved(t.Context(), p); err != nil || len(moved) != 0 {
		t.Errorf("an image that no registry has: %+v, %v", moved, err)
	}
}

// TestOnlyAWholeComparisonSucceeds checks the exit code, the JSON and the text of a comparison
// without differences in which something could not be compared.
func TestOnlyAWholeComparisonSucceeds(t *testing.T) {
	home := t.TempDir()
	for _, variable := range []string{"HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"} {
		t.Setenv(variable, home)
	}
	t.Chdir(t.TempDir())
	built, err := random.Image(1024, 1)
	if err != nil {
		t.Fatal(err)
	}
	served := containers.New(containers.Logger(log.New(io.Discard, "", 0)))
	status := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status != 0 {
			w.WriteHeader(status)
			return
		}
		served.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	tag, err := name.NewTag(strings.TrimPrefix(s.URL, "http://") + "/train:1")
	if err == nil {
		err = remote.Write(tag, built)
	}
	if err != nil {
		t.Fatal(err)
	}
	facts, err := registry.Look(t.Context(), tag.String(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	spec := keyway.Spec{Image: tag.String()}
	spec.Caller = true
	if err := (pin.Lock{}).With(pin.FromImage("train", "amd64", spec, facts)).Write(pin.FileName); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("keyway.yaml", []byte("services:\n  train:\n    image: "+tag.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status int
		ignore []string
		kinds  []keyway.Kind // of the failed comparisons; the exit code is that of the first
	}{
		{0, nil, []keyway.Kind{keyway.NotFound}}, // there is no workspace
		{http.StatusInternalServerError, nil, []keyway.Kind{keyway.Unreachable, keyway.NotFound}},
		{http.StatusNotFound, nil, []keyway.Kind{keyway.ImageNotFound, keyway.NotFound}},
		{http.StatusForbidden, nil, []keyway.Kind{keyway.ImageNotFound, keyway.NotFound}},
		{http.StatusInternalServerError, []string{"tag"}, []keyway.Kind{keyway.NotFound}},
	} {
		status = c.status
		for _, asJSON := range []bool{false, true} {
			var out, news strings.Builder
			err := runDrift(t.Context(), driftOptions{names: []string{"train"}, ignore: c.ignore, json: asJSON}, &out, &news)
			if want := exitStatus(keyway.ExitCode(keyway.Errorf(c.kinds[0], ""))); err != want {
				t.Errorf("%d, %q: ends with %v, want %v: %s%s", c.status, c.ignore, err, want, &out, &news)
			}
			if !asJSON {
				if strings.Contains(out.String(), "nothing differs") || strings.Count(news.String(), "→") < len(c.kinds) {
					t.Errorf("%d: %s%s", c.status, &out, &news)
				}
				continue
			}
			var told drift
			if err := json.Unmarshal([]byte(out.String()), &told); err != nil {
				t.Fatal(err)
			}
			var kinds []keyway.Kind
			for _, e := range told.Errors {
				kinds = append(kinds, e.Kind)
			}
			if told.Complete || !slices.Equal(kinds, c.kinds) {
				t.Errorf("%d: %s", c.status, &out)
			}
		}
	}
}

// TestEveryPinIsCompared checks that the pins of both architectures are compared, where only some
// differ from the template.
func TestEveryPinIsCompared(t *testing.T) {
	home := t.TempDir()
	for _, variable := range []string{"HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"} {
		t.Setenv(variable, home)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("keyway.yaml", []byte("services:\n  train:\n    image: train:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		images [2]string // pinned for amd64 and arm64
		differ int
	}{{[2]string{"train:1", "train:1"}, 0}, {[2]string{"train:1", "train:0"}, 1}, {[2]string{"train:0", "train:1"}, 1}, {[2]string{"train:0", "train:0"}, 1}} {
		var lock pin.Lock
		for i, arch := range []string{"amd64", "arm64"} {
			spec := keyway.Spec{Image: c.images[i]}
			spec.Caller = true
			lock = lock.With(pin.FromImage("train", arch, spec, keyway.ImageFacts{}))
		}
		if err := lock.Write(pin.FileName); err != nil {
			t.Fatal(err)
		}
		var out, news strings.Builder
		err := runDrift(t.Context(), driftOptions{names: []string{"train"}, ignore: []string{"tag"}, json: true}, &out, &news)
		var told drift
		if bad := json.Unmarshal([]byte(out.String()), &told); bad != nil {
			t.Fatal(bad, err)
		}
		if len(told.Differences) != c.differ || c.differ > 0 && told.Differences[0].Want != "train:0" {
			t.Errorf("%q: %s", c.images, &out)
		}
	}
}

// TestFailuresOfEachPlaceAreTold checks that failures of two places with the same text are both
// reported, in either order.
func TestFailuresOfEachPlaceAreTold(t *testing.T) {
	at := func(place keyway.Place, kind keyway.Kind) *keyway.Error {
		e := keyway.Errorf(kind, "the engine does not answer")
		e.At = place
		return e
	}
	one, other := at("gpu1", keyway.EngineDown), at("gpu2", keyway.Unreachable)
	for _, failed := range [][]*keyway.Error{{one, other}, {other, one, one}} {
		sortErrors(failed)
		var d drift
		d.missed(failed...)
		if len(d.Errors) != 2 || d.verdict() != exitStatus(keyway.ExitCode(one)) {
			t.Errorf("%v, %v", d.Errors, d.verdict())
		}
	}
}

// TestNotLookedIntoSaysWhy checks that keyway advises a start only for a stopped workspace.
func TestNotLookedIntoSaysWhy(t *testing.T) {
	for _, state := range []keyway.State{keyway.Running, keyway.Stopped, keyway.Broken, keyway.Unknown, "odd"} {
		e := notLookedInto("gpu1/train", state)
		if starts := strings.Contains(e.Next, "keyway start"); starts != (state == keyway.Stopped) || e.Next == "" || !strings.Contains(e.Message, "gpu1/train") {
			t.Errorf("%s: %s → %s", state, e.Message, e.Next)
		}
	}
}

// TestAWorkspaceIsMadeAnewInItsEngine checks that the advice names the engine if it is not the
// preferred one.
func TestAWorkspaceIsMadeAnewInItsEngine(t *testing.T) {
	d := drift{
		Template: "train", Compared: []string{"gpu1/a", "gpu2/b"}, engines: map[string]string{"gpu1/a": keyway.EngineDocker, "gpu2/b": keyway.EnginePodman},
		Differences: []pin.Difference{{Where: "gpu1/a", Field: "pip"}, {Where: "gpu2/b", Field: "pip"}},
	}
	for _, line := range []string{
		"keyway rm gpu1/a && keyway up train --on gpu1 --name a --pinned", "keyway rm gpu2/b && keyway up train --on gpu2 --engine podman --name b --pinned",
	} {
		if !strings.Contains(d.mend(), line) {
			t.Errorf("%s is not in:\n%s", line, d.mend())
		}
	}
}
