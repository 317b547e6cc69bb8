package docker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// stock is a daemon with containers, each as its answer to an inspection. It makes nothing.
type stock struct {
	containers map[string]string // by name or ID; the answer, or a message of a failure

	mu      sync.Mutex
	removed []string
}

func (s *stock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, call, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v"), "/")
	id := strings.TrimSuffix(strings.TrimPrefix(call, "containers/"), "/json")
	said, there := s.containers[id]
	switch {
	case strings.HasSuffix(r.URL.Path, "/_ping"):
		w.Header().Set("Api-Version", "1.44")
	case call == "version":
		_, _ = io.WriteString(w, `{"Version":"29.0","ApiVersion":"1.44","MinAPIVersion":"1.24","Arch":"amd64"}`)
	case call == "info":
		_, _ = io.WriteString(w, `{"ID":"one","DockerRootDir":"/var/lib/docker"}`)
	case call == "containers/json":
		_, _ = io.WriteString(w, `[]`)
	case there && r.Method == http.MethodDelete:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.removed = append(s.removed, id)
		w.WriteHeader(http.StatusNoContent)
	case there && strings.HasPrefix(said, "{"):
		_, _ = io.WriteString(w, said)
	case there:
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"message":"`+said+`"}`)
	default:
		http.Error(w, `{"message":"no such container"}`, http.StatusNotFound)
	}
}

const restID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// engineOf returns an engine of owner 7 with a Home named train, whose Record is rec, or the
// text.
func engineOf(t *testing.T, s *stock, rec engine.Record, text string) *Engine {
	t.Helper()
	e := &Engine{client: clientOf(t, s), homes: engine.HomesIn(t.TempDir()), owner: "7"}
	rec.Spec.Name = "train"
	if _, err := e.homes.Make(rec.Spec, engine.Guest{}); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	if text != "" {
		data = []byte(text)
	}
	err = errors.Join(os.WriteFile(filepath.Join(e.homes.Dir(), ".train.json"), data, 0o600), os.WriteFile(string(e.homes.Home("train"))+"/file", nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestOnlyAnOrphanedHomeIsRemoved checks that making, adopting or removing a workspace removes the
// Home of that name only if its Record belongs to this daemon and its container is gone.
func TestOnlyAnOrphanedHomeIsRemoved(t *testing.T) {
	ofDocker := keyway.Spec{Engine: keyway.EngineDocker, Image: "x"}
	label, err := json.Marshal(map[string]string{labelName: "train", labelOwner: "7", labelMode: modeBind, labelSpec: `{"name":"train"}`})
	if err != nil {
		t.Fatal(err)
	}
	running := `{"Id":"` + restID + `","Name":"/renamed","Config":{},"State":{"Status":"running","Running":true},"HostConfig":{}}`
	for what, c := range map[string]struct {
		rec        engine.Record
		text       string
		containers map[string]string
		gone       bool
		kind       keyway.Kind // of the refusal to make one
	}{
		"its container is gone":     {rec: engine.Record{Spec: ofDocker, Container: restID}, gone: true},
		"it never had one":          {rec: engine.Record{Spec: ofDocker}, gone: true},
		"the adopted one is gone":   {rec: engine.Record{Spec: ofDocker, Container: restID, Adopted: true}, gone: true},
		"a damaged Record":          {text: `{"spec":{"name":"train","engine":"docker"`, kind: keyway.Other},
		"nothing in the Record":     {text: `{}`, kind: keyway.Other},
		"damaged, with a container": {text: `{`, kind: keyway.Other, containers: map[string]string{"keyway-7-train": strings.Replace(strings.Replace(running, "renamed", "keyway-7-train", 1), `"Config":{}`, `"Config":{"Labels":`+string(label)+`}`, 1)}},
		"another machine's":         {rec: engine.Record{Spec: ofDocker, Container: restID, Machine: engine.Machine{ID: "x", Host: "gpu2"}}, kind: keyway.Unreachable},
		"another daemon's":          {rec: engine.Record{Spec: ofDocker, Container: restID, Daemon: engine.Daemon{ID: "x"}}, kind: keyway.Unreachable},
		"plain processes":           {rec: engine.Record{Spec: keyway.Spec{Engine: keyway.EngineHost}}, kind: keyway.NameTaken},
		"renamed":                   {rec: engine.Record{Spec: ofDocker, Container: restID}, containers: map[string]string{restID: running}, kind: keyway.NameTaken},
		"adopted":                   {rec: engine.Record{Spec: ofDocker, Container: restID, Adopted: true}, containers: map[string]string{restID: running}, kind: keyway.NameTaken},
		"it cannot be seen":         {rec: engine.Record{Spec: ofDocker, Container: restID}, containers: map[string]string{restID: "broken layer"}, kind: keyway.Other},
	} {
		for how, remove := range map[string]func(*Engine) error{
			"up": func(e *Engine) error { return e.vacant(t.Context(), "train") },
			"rm": func(e *Engine) error { return e.Remove(t.Context(), "train") },
		} {
			if how == "rm" && c.rec.Adopted && !c.gone {
				continue // Remove ends the guest, and then removes the Home
			}
			s := &stock{containers: c.containers}
			e := engineOf(t, s, c.rec, c.text)
			err := remove(e)
			if (err == nil) != c.gone || how == "up" && !c.gone && !keyway.Is(err, c.kind) {
				t.Errorf("%s, %s: %v", what, how, err)
			}
			_, left := os.Stat(string(e.homes.Home("train")) + "/file")
			if (left != nil) != c.gone || len(s.removed) > 0 {
				t.Errorf("%s, %s: files: %v; containers removed: %q", what, how, left, s.removed)
			}
		}
	}
}

// TestAnAdoptedContainerThatCannotBeSeen checks that an error of the daemon about a container is
// not taken for the container's end, nor its GPUs for free ones.
func TestAnAdoptedContainerThatCannotBeSeen(t *testing.T) {
	for what, c := range map[string]struct {
		containers map[string]string
		listed     bool
	}{
		"it fails":        {map[string]string{restID: "broken layer"}, true},
		"it says nothing": {map[string]string{restID: `{"Id":"` + restID + `","Name":"/web"}`}, true},
		"it is gone":      {nil, false},
	} {
		e := engineOf(t, &stock{containers: c.containers}, engine.Record{Spec: keyway.Spec{Engine: keyway.EngineDocker}, Container: restID, Adopted: true}, "")
		list, err := e.List(t.Context())
		if err != nil || (len(list) == 1) != c.listed || c.listed && (list[0].Name != "train" || list[0].State != keyway.Broken || list[0].Reason == "" || list[0].Sessions >= 0 || list[0].Next != "") {
			t.Errorf("%s: the list is %+v, %v", what, list, err)
		}
		if held, err := e.GPUs(t.Context()); (err != nil) != c.listed || len(held) > 0 {
			t.Errorf("%s: the GPUs are %+v, %v", what, held, err)
		}
	}
}

// TestAFailedAdoptionLeavesNoGuest checks that the Record of a container stays as long as a guest
// may live in it.
func TestAFailedAdoptionLeavesNoGuest(t *testing.T) {
	for _, put := range []bool{false, true} {
		e := engineOf(t, &stock{}, engine.Record{}, "{")
		err := e.unadopt(context.Background(), "train", put)
		if _, left := os.Stat(string(e.homes.Home("train"))); (left == nil) != put || (err != nil) != put {
			t.Errorf("put: %t: %v, %v", put, err, left)
		}
	}
}
