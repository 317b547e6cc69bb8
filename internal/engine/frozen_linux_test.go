package engine

import (
	"os"
	"path/filepath"
	"testing"

	"keyway/internal/proctree"
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
	for _, c := range []struct {
		groups []proctree.Group
		want   bool
	}{
		{[]proctree.Group{{Path: "/paused"}}, true},
		{[]proctree.Group{{Path: "/runs"}}, false},
		{[]proctree.Group{{Path: "/none"}}, false},
		{[]proctree.Group{{Controllers: "pids", Path: "/paused"}, {Controllers: "freezer", Path: "/paused"}}, true},
		{[]proctree.Group{{Controllers: "pids", Path: "/paused"}, {Controllers: "freezer", Path: "/runs"}, {Path: "/"}}, false},
		{[]proctree.Group{{}}, false},
		{nil, false},
	} {
		if got := frozenIn(root, c.groups); got != c.want {
			t.Errorf("frozenIn(%q) is %v", c.groups, got)
		}
	}
}
