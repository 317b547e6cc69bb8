package engine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFrozenIn(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"paused/cgroup.events":         "populated 1\nfrozen 1\n",
		"runs/cgroup.events":           "populated 1\nfrozen 0\n",
		"freezer/paused/freezer.state": "FROZEN\n",
		"freezer/runs/freezer.state":   "THAWED\n",
	} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for groups, want := range map[string]bool{
		"0::/paused\n":                            true,
		"0::/runs\n":                              false,
		"0::/none\n":                              false,
		"7:pids:/paused\n6:freezer:/paused\n":     true,
		"7:pids:/paused\n6:freezer:/runs\n0::/\n": false,
		"":        false,
		"0":       false,
		":\n::\n": false,
	} {
		if got := frozenIn(root, groups); got != want {
			t.Errorf("frozenIn(%q) is %v", groups, got)
		}
	}
}
