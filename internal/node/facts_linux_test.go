package node

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// plant writes a machine's files, by their paths.
func plant(t *testing.T, files map[string]string) machine {
	t.Helper()
	m := machine{root: t.TempDir()}
	for path, text := range files {
		path = filepath.Join(m.root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestMachineFacts(t *testing.T) {
	m := plant(t, map[string]string{"proc/meminfo": "MemTotal:       65536000 kB\nMemFree: 1 kB\n"})
	if got := m.memory(); got != 65536000<<10 {
		t.Errorf("memory %d", got)
	}
	dir := t.TempDir()
	got := mountFacts([]keyway.Mount{{Source: dir, Target: "/a"}, {Source: dir, Target: "/b"}, {Source: dir + "/none", Target: "/c"}, {Kind: keyway.MountTmpfs, Target: "/d"}})
	if want := []keyway.MountFacts{{Source: dir, Exists: true, Readable: true, Writable: true}, {Source: dir + "/none"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if _, ok := engine.HardLimits()["nofile"]; !ok {
		t.Error("the limit of files is not told")
	}
}
