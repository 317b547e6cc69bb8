//go:build unix

package node

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/catalogue"
	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// adoptingEngine has containers that others have made.
type adoptingEngine struct {
	fakeEngine
	containers []string
	adopted    *keyway.Adoption
}

func (a *adoptingEngine) Containers(context.Context) (list []keyway.Container, err error) {
	for _, c := range a.containers {
		list = append(list, keyway.Container{Engine: a.name, Name: c})
	}
	return list, a.broken
}

func (a *adoptingEngine) Adopt(_ context.Context, asked keyway.Adoption, _ func(keyway.Progress)) (keyway.Workspace, error) {
	if a.broken != nil {
		return keyway.Workspace{}, a.broken
	}
	for _, c := range a.containers {
		if c == asked.Container {
			a.adopted = &asked
			return keyway.Workspace{Name: asked.Name, Engine: a.name, Container: c}, nil
		}
	}
	return keyway.Workspace{}, keyway.Errorf(keyway.NotFound, "%s has no container %s", a.name, asked.Container)
}

func adoptingNode(t *testing.T) (n *Node, docker, podman *adoptingEngine, host *fakeEngine) {
	docker = &adoptingEngine{fakeEngine: fakeEngine{name: keyway.EngineDocker}, containers: []string{"web", "both"}}
	podman = &adoptingEngine{fakeEngine: fakeEngine{name: keyway.EnginePodman}, containers: []string{"db", "both"}}
	host = &fakeEngine{name: keyway.EngineHost}
	n = New(engine.HomesIn(t.TempDir()), nil, docker, podman, host)
	n.published.dir = filepath.Join(t.TempDir(), "none")
	return n, docker, podman, host
}

func TestAdoptChoosesTheEngineThatHasTheContainer(t *testing.T) {
	gone := keyway.Errorf(keyway.EngineAbsent, "docker is not installed")
	for what, c := range map[string]struct {
		asked  keyway.Adoption
		docker error
		taken  bool // the plain processes have a workspace of that name
		engine string
		kind   keyway.Kind
	}{
		"the first that has it":      {asked: keyway.Adoption{Container: "both"}, engine: "docker"},
		"the other":                  {asked: keyway.Adoption{Container: "db"}, engine: "podman"},
		"as asked":                   {asked: keyway.Adoption{Container: "both", Engine: "podman"}, engine: "podman"},
		"one is not installed":       {asked: keyway.Adoption{Container: "db"}, docker: gone, engine: "podman"},
		"none has it":                {asked: keyway.Adoption{Container: "x"}, kind: keyway.NotFound},
		"none has it, one is absent": {asked: keyway.Adoption{Container: "x"}, docker: gone, kind: keyway.NotFound},
		"another has it":             {asked: keyway.Adoption{Container: "db", Engine: "docker"}, kind: keyway.NotFound},
		"it is down":                 {asked: keyway.Adoption{Container: "web", Engine: "docker"}, docker: down, kind: keyway.EngineDown},
		"plain processes":            {asked: keyway.Adoption{Container: "web", Engine: "host"}, kind: keyway.Usage},
		"unheard of":                 {asked: keyway.Adoption{Container: "web", Engine: "lxd"}, kind: keyway.Usage},
		"the name is taken":          {asked: keyway.Adoption{Container: "web"}, taken: true, kind: keyway.NameTaken},
	} {
		n, docker, _, host := adoptingNode(t)
		docker.broken = c.docker
		if c.taken {
			host.has = []keyway.Name{"train"}
		}
		c.asked.Name = "train"
		w, err := n.Adopt(context.Background(), c.asked, func(keyway.Progress) {})
		if w.Engine != c.engine || (c.kind == "") != (err == nil) || err != nil && !keyway.Is(err, c.kind) {
			t.Errorf("%s: by %q, %v", what, w.Engine, err)
		}
	}
}

func TestContainersOfAllEngines(t *testing.T) {
	n, docker, podman, _ := adoptingNode(t)
	if list, err := n.Containers(context.Background()); err != nil || len(list) != 4 {
		t.Errorf("%v, %v", list, err)
	}
	podman.containers, docker.broken = nil, down
	docker.containers = nil
	if list, err := n.Containers(context.Background()); err != nil || len(list) != 0 {
		t.Errorf("one has none, one is down: %v, %v", list, err)
	}
	podman.broken = keyway.Errorf(keyway.EngineAbsent, "podman is not installed")
	if _, err := n.Containers(context.Background()); !keyway.Is(err, keyway.EngineDown) {
		t.Errorf("none answers: %v", err)
	}
}

// TestAdoptIsNoWayAroundTheTemplates checks that a place that permits only its own templates
// refuses the adoption of other containers.
func TestAdoptIsNoWayAroundTheTemplates(t *testing.T) {
	n, docker, _, _ := adoptingNode(t)
	n.published = aShelf(t)
	adopt := func() error {
		_, err := n.Adopt(context.Background(), keyway.Adoption{Name: "mine", Container: "web"}, func(keyway.Progress) {})
		return err
	}
	if err := adopt(); err != nil {
		t.Errorf("beside templates that forbid nothing: %v", err)
	}
	docker.adopted = nil
	only := catalogue.Template{Format: catalogue.Format, Name: "only", Only: true, Spec: keyway.Spec{Image: "lab/base"}}
	only.Spec.Template = only.Name
	data, err := json.Marshal(only)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.published.dir, "only.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := adopt(); !keyway.Is(err, keyway.NotAllowed) || docker.adopted != nil {
		t.Errorf("it is adopted: %v", err)
	}
	n.published.owner++ // not believed, so it may forbid anything
	if err := adopt(); !keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), "nothing is made") {
		t.Errorf("%v", err)
	}
}
