//go:build unix

package node

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// keepsVolumes is an engine that reports the volumes that it removes.
type keepsVolumes struct {
	adoptingEngine
	removed []string
}

func (k *keepsVolumes) Remove(_ context.Context, n keyway.Name) error {
	k.removed = append(k.removed, string(n))
	return nil
}

func (k *keepsVolumes) RemoveVolume(_ context.Context, name string) error {
	if name == "used" {
		return keyway.Errorf(keyway.NameTaken, "the volume is in use")
	}
	k.removed = append(k.removed, name)
	return nil
}

// TestARecordThatProvesNothing checks a Home whose Record belongs to another machine or cannot be
// read: no workspace of that name is made, changed or removed, even if an engine has one, and the
// list shows it.
func TestARecordThatProvesNothing(t *testing.T) {
	theirs, err := json.Marshal(engine.Record{Spec: keyway.Spec{Name: "train", Engine: "docker"}, Machine: engine.Machine{ID: "another", Host: "gpu2"}})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		record []byte
		says   string
		kind   keyway.Kind
		state  keyway.State
	}{
		"another machine's": {theirs, "gpu2", keyway.Unreachable, keyway.Elsewhere},
		"damaged":           {[]byte(`{"spec":`), "the record of the workspace train cannot be read", keyway.Other, keyway.Broken},
	} {
		for _, has := range [][]keyway.Name{nil, {"train"}} {
			homes := engine.HomesIn(t.TempDir())
			if _, err := homes.Make(keyway.Spec{Name: "train", Engine: "docker"}, engine.Guest{}); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(homes.Dir(), ".train.json"), c.record, 0o600); err != nil {
				t.Fatal(err)
			}
			docker := &keepsVolumes{adoptingEngine: adoptingEngine{fakeEngine: fakeEngine{name: keyway.EngineDocker, has: has}, containers: []string{"web"}}}
			n := New(homes, nil, docker)
			n.published.dir = filepath.Join(t.TempDir(), "none")
			quiet := func(keyway.Progress) {}
			_, created := n.Create(t.Context(), keyway.Spec{Name: "train", Image: "x"}, quiet)
			_, adopted := n.Adopt(t.Context(), keyway.Adoption{Name: "train", Container: "web"}, quiet)
			_, dialled := n.Dial(t.Context(), "train")
			for how, err := range map[string]error{
				"up": created, "adopt": adopted, "ssh": dialled, "stop": n.Stop(t.Context(), "train", 0), "start": n.Start(t.Context(), "train"),
				"rm": n.Remove(t.Context(), "train"), "rm --volumes": n.Purge(t.Context(), "train"), "keys": n.Admit(t.Context(), "train", nil),
			} {
				if !keyway.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s, %s: %v", what, how, err)
				}
			}
			if docker.created != nil || docker.adopted != nil || docker.removed != nil {
				t.Errorf("%s: made %v, adopted %v, removed %v", what, docker.created, docker.adopted, docker.removed)
			}
			if has != nil {
				continue
			}
			list, err := n.List(t.Context())
			if err != nil || len(list.Workspaces) != 1 || list.Workspaces[0].State != c.state || !strings.Contains(list.Workspaces[0].Reason, c.says) {
				t.Errorf("%s: %+v, %v", what, list, err)
			}
		}
	}
}

// TestUndoRemovesWhatIsNew checks that undoing an up removes the volumes that it made, and no older
// ones, as rm --volumes would. A volume that another workspace uses by now is no failure.
func TestUndoRemovesWhatIsNew(t *testing.T) {
	spec := keyway.Spec{Name: "train", Engine: "docker", Files: keyway.Files{HomeVolume: "home", Mounts: []keyway.Mount{{Kind: keyway.MountVolume, Source: "cache", Target: "/c"}}}}
	for what, c := range map[string]struct {
		undo    func(*Node) error
		fresh   []string
		removed string
	}{
		"undo":           {func(n *Node) error { return n.Undo(t.Context(), "train") }, []string{"cache"}, "train cache"},
		"older node's":   {func(n *Node) error { return n.Undo(t.Context(), "train") }, nil, "train"},
		"used by others": {func(n *Node) error { return n.Undo(t.Context(), "train") }, []string{"used", "cache"}, "train cache"},
		"rm --volumes":   {func(n *Node) error { return n.Purge(t.Context(), "train") }, []string{"cache"}, "train cache home"},
	} {
		homes := engine.HomesIn(t.TempDir())
		if _, err := homes.Make(spec, engine.Guest{}); err != nil {
			t.Fatal(err)
		}
		if err := homes.Revise("train", func(r *engine.Record) { r.Fresh = c.fresh }); err != nil {
			t.Fatal(err)
		}
		docker := &keepsVolumes{adoptingEngine: adoptingEngine{fakeEngine: fakeEngine{name: keyway.EngineDocker, has: []keyway.Name{"train"}}}}
		err := c.undo(New(homes, nil, docker))
		if got := strings.Join(docker.removed, " "); err != nil || got != c.removed {
			t.Errorf("%s: %v, removed %q, want %q", what, err, got, c.removed)
		}
	}
}
