package docker

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/moby/moby/api/types/system"

	"keyway/internal/keyway"
)

// TestGPUsAreFoundHoweverTheyAreGiven checks that a daemon that knows only CDI counts as one with
// GPUs.
func TestGPUsAreFoundHoweverTheyAreGiven(t *testing.T) {
	put := func(path, text string) func(string) {
		return func(root string) {
			path := filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	nothing := func(string) {}
	cdi := put("etc/cdi/nvidia.yaml", "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n")
	dirs := []string{"/etc/cdi", "/var/run/cdi"}
	for name, c := range map[string]struct {
		info          system.Info
		podman, local bool
		plant         func(root string)
		want          keyway.EngineFacts
	}{
		"none":              {system.Info{CDISpecDirs: dirs}, false, true, nothing, keyway.EngineFacts{}},
		"runtime":           {system.Info{Runtimes: map[string]system.RuntimeWithStatus{"nvidia": {}}}, false, true, nothing, keyway.EngineFacts{Runtime: true}},
		"hook":              {system.Info{}, false, true, put("usr/bin/nvidia-container-runtime-hook", ""), keyway.EngineFacts{Runtime: true}},
		"CDI":               {system.Info{CDISpecDirs: dirs}, false, true, cdi, keyway.EngineFacts{CDI: true}},
		"CDI switched off":  {system.Info{}, false, true, cdi, keyway.EngineFacts{}},
		"other CDI":         {system.Info{CDISpecDirs: dirs}, false, true, put("etc/cdi/x.yaml", "kind: example.com/net"), keyway.EngineFacts{}},
		"podman with CDI":   {system.Info{}, true, true, cdi, keyway.EngineFacts{CDI: true}},
		"podman and a hook": {system.Info{}, true, true, put("usr/bin/nvidia-container-runtime-hook", ""), keyway.EngineFacts{}},
		"systemd":           {system.Info{CgroupDriver: "systemd"}, false, true, put("dev/char/195:0", ""), keyway.EngineFacts{Systemd: true, DevChar: true}},
		"another machine":   {system.Info{}, false, false, nothing, keyway.EngineFacts{Runtime: true}},
	} {
		root := t.TempDir()
		c.plant(root)
		got := facts(c.info, c.podman, c.local, root)
		got.Free = 0
		if got.Image.Env != nil || got.Name != c.want.Name || got.Runtime != c.want.Runtime || got.CDI != c.want.CDI || got.Systemd != c.want.Systemd || got.DevChar != c.want.DevChar {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
