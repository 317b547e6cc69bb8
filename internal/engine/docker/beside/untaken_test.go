package beside

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/moby/moby/api/types/container"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/inside"
	"keyway/internal/keyway"
)

// claimed is a daemon whose container has a claim at the guest's path, or nothing if the claim is
// empty.
type claimed struct {
	claim   string
	touched atomic.Int32 // requests that change the container
}

func (c *claimed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch archive := strings.HasSuffix(r.URL.Path, "/archive"); {
	case strings.HasSuffix(r.URL.Path, "/_ping"):
		w.Header().Set("Api-Version", "1.44")
	case archive && c.claim != "" && (r.Method == http.MethodHead || r.Method == http.MethodGet):
		w.Header().Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString([]byte(`{"name":"owner"}`)))
		if data, err := inside.Archive(inside.File{Path: claimPath, Data: []byte(c.claim)}); err == nil && r.Method == http.MethodGet {
			_, _ = w.Write(data)
		}
	case strings.HasSuffix(r.URL.Path, "/containers/json"):
		fmt.Fprintf(w, `[{"Id":"%s","Names":["/theirs"]}]`, strings.Repeat("a", 64))
	case r.Method == http.MethodHead, archive && r.Method == http.MethodGet:
		w.WriteHeader(http.StatusNotFound)
	default:
		c.touched.Add(1)
		http.Error(w, `{"message":"no"}`, http.StatusInternalServerError)
	}
}

// TestAGuestThatAnUnreadableRecordMayName checks that such a guest does not count as left over, and
// continues. The list does not show its container as one without a workspace.
func TestAGuestThatAnUnreadableRecordMayName(t *testing.T) {
	for _, there := range []bool{true, false} {
		d := &claimed{}
		g := guestsOf(t, d, keyway.Spec{Name: "train", Engine: "docker"})
		if err := os.WriteFile(filepath.Join(g.Homes.Dir(), ".train.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if there {
			d.claim = g.claim()
		}
		err := g.untaken(t.Context(), running(nil))
		if (err != nil) != there || there && !strings.Contains(err.Error(), "the record of the workspace train cannot be read") || d.touched.Load() > 0 {
			t.Errorf("a guest is there: %t: %v; the container was touched %d times", there, err, d.touched.Load())
		}
		list, err := g.List(t.Context())
		if err != nil || len(list) != 1 || (list[0].Unclear != "") != there || there && !strings.Contains(list[0].Unclear, "the workspace train") {
			t.Errorf("a guest is there: %t: listed is %+v, %v", there, list, err)
		}
	}
}

// TestRemoveOfAStoppedOne checks that Remove changes a container that does not run only if the guest
// in it is of this owner: when it ran, another may have adopted it.
func TestRemoveOfAStoppedOne(t *testing.T) {
	for what, touched := range map[string]int32{"mine": 1, "another's": 0, "none": 0} {
		d := &claimed{}
		spec := keyway.Spec{Name: "train", Engine: "docker"}
		g := guestsOf(t, d, spec)
		d.claim = map[string]string{"mine": g.claim(), "another's": "1001 " + g.Homes.Mark() + "\n"}[what]
		rec := engine.Record{Container: strings.Repeat("a", 64), Spec: spec}
		if err := g.Remove(t.Context(), rec, "theirs", &container.State{}); err != nil || d.touched.Load() != touched {
			t.Errorf("%s: %v; the container was touched %d times, not %d", what, err, d.touched.Load(), touched)
		}
		if _, err := g.Homes.Record("train"); err == nil {
			t.Errorf("%s: the workspace is still there", what)
		}
	}
}

// TestWhatSleeps checks that the error names the state of a container that does not run, with a
// step that helps: a dead container cannot be started.
func TestWhatSleeps(t *testing.T) {
	g := &Guests{Client: &daemon.Client{}}
	rec := engine.Record{Spec: keyway.Spec{Name: "train"}}
	for says, c := range map[string]struct {
		st   container.State
		next string
	}{
		"does not run":     {container.State{Status: container.StateExited}, " start web"},
		"is paused":        {container.State{Status: container.StatePaused, Running: true, Paused: true}, " unpause web"},
		"is dead":          {container.State{Status: container.StateDead, Dead: true}, " rm -f web"},
		"is being removed": {container.State{Status: container.StateRemoving}, " rm -f web"},
	} {
		err := keyway.AsError(g.asleep(rec, "web", &c.st))
		removes := strings.Contains(c.next, "rm -f")
		if err.Kind != keyway.NotRunning || !strings.Contains(err.Message, "the container web, which the workspace train is in, "+says) || !strings.HasSuffix(err.Next, c.next) ||
			removes != (len(err.Advice) == 1 && err.Advice[0].Step == keyway.RemoveRest) {
			t.Errorf("%+v: %s\n%s %+v", c.st, err.Message, err.Next, err.Advice)
		}
	}
}
