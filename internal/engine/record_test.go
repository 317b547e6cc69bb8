package engine

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"keyway/internal/keyway"
)

// TestRecordsOfBefore checks records of earlier versions. Writing them yields the same JSON, so a
// node of such a version can read this node's records.
func TestRecordsOfBefore(t *testing.T) {
	first := keyway.Spec{
		Name: "train", Engine: "docker", Image: "pytorch/pytorch:2.8.0-cuda12.6-cudnn9-devel",
		Command: []string{"tensorboard", "--logdir", "/mnt/data/runs"},
		Access: keyway.Access{ForwardAgent: true, AuthorizedKeys: []string{
			"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmPq0Yw2ZQ7vX5cD4eB1aR8tS6uK3nL9oH0gF2jE7iW ada@laptop"}},
		Resources: keyway.Resources{GPUs: keyway.GPUs{IDs: []string{"GPU-5f1c", "GPU-77aa"}}, ShmSize: 16 << 30},
		Files: keyway.Files{Workdir: "/workspace", ReadOnly: true, Mounts: []keyway.Mount{
			{Source: "/data", Target: "/mnt/data", ReadOnly: true}, {Source: "/home/ada", Target: "/mnt/home"}}},
		Process: keyway.Process{User: "1000:1000", Env: map[string]string{"HF_HOME": "/mnt/data/hf", "EMPTY": ""}},
	}
	second := first
	second.CapAdd, second.NewPrivileges, second.PidsLimit = []string{"NET_RAW"}, true, 4096
	for file, want := range map[string]keyway.Spec{"record-2026-11-27.json": first, "record-2026-11-29.json": second} {
		sample, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		homes := HomesIn(t.TempDir())
		if err := os.MkdirAll(string(homes.Home("train")), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(homes.recordPath("train"), sample, 0o600); err != nil {
			t.Fatal(err)
		}
		rec, err := homes.Record("train")
		if err != nil || !reflect.DeepEqual(rec.Spec, want) || rec.Guest != "2f9c0c5a" || rec.Created.IsZero() {
			t.Errorf("%s: %+v, %v", file, rec, err)
		}
		if err := homes.remember(rec); err != nil {
			t.Fatal(err)
		}
		again, err := os.ReadFile(homes.recordPath("train"))
		if err != nil || !reflect.DeepEqual(object(t, again), object(t, sample)) {
			t.Errorf("%s is written again as\n%s, %v", file, again, err)
		}
	}
}

func object(t *testing.T, data []byte) map[string]any {
	var o map[string]any
	if err := json.Unmarshal(data, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestSpecIsOneFlatObject checks that no two fields have one JSON name, which encoding/json would
// silently drop, and that no group has become an object.
func TestSpecIsOneFlatObject(t *testing.T) {
	var s keyway.Spec
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	keys := slices.Sorted(maps.Keys(object(t, data)))
	if want := []string{"authorizedKeys", "name"}; !slices.Equal(keys, want) {
		t.Errorf("the zero Spec has %q, want %q", keys, want)
	}
	seen := map[string]string{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[keyway.Spec]()) {
		tag := f.Tag.Get("json")
		switch {
		case f.Anonymous && tag == "":
		case f.Anonymous || tag == "" || seen[tag] != "":
			t.Errorf("the field %s has the JSON tag %q, as %q has", f.Name, tag, seen[tag])
		default:
			seen[tag] = f.Name
		}
	}
}
