package docker_test

import (
	"slices"
	"strings"
	"testing"

	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
	"keyway/test/lab"
)

func TestGPUs(t *testing.T) {
	gpu, err := lab.StartGPUDocker(enginetest.Context(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("dockerd said:\n%s", gpu.Log())
		}
		if err := gpu.Close(); err != nil {
			t.Error(err)
		}
	})
	d := onDaemon(t, gpu.Host)
	for name, opts := range map[string][]docker.Option{"Bind": nil, "Exec": {docker.ByExec()}} {
		t.Run(name, func(t *testing.T) { testGPUs(t, d.world(t, opts...)) })
	}
}

func testGPUs(t *testing.T, w world) {
	for _, c := range []struct {
		flag string
		want []string // nil: NoGPU
		env  string
	}{
		{"all", []string{"nvidia0", "nvidia1", "nvidia2"}, "all"},
		{"2", []string{"nvidia0", "nvidia1"}, "0,1"},
		{"device=1", []string{"nvidia1"}, "1"},
		{"GPU-fake-2,GPU-fake-0", []string{"nvidia0", "nvidia2"}, "GPU-fake-2,GPU-fake-0"},
		{"none", []string{}, "void"},
		{"device=7", nil, ""},
		{"GPU-fake-9", nil, ""},
		{"5", nil, ""},
	} {
		t.Run(c.flag, func(t *testing.T) {
			gpus, err := keyway.ParseGPUs(c.flag)
			if err != nil {
				t.Fatal(err)
			}
			spec := w.Spec(t, "gpu")
			spec.GPUs = gpus
			if c.want == nil {
				_, err := w.Engine.Create(enginetest.Context(t), spec, enginetest.Quiet)
				enginetest.WantKind(t, err, keyway.NoGPU)
				t.Log(enginetest.Full(err))
				w.WantNothingOf(t, "gpu")
				return
			}
			made := w.Create(t, spec)
			if made.GPUs.String() != gpus.String() {
				t.Errorf("it has %s", made.GPUs)
			}
			devices := slices.DeleteFunc(strings.Fields(w.Run(t, made, "ls /dev")), func(d string) bool { return !strings.HasPrefix(d, "nvidia") })
			if !slices.Equal(devices, c.want) {
				t.Errorf("it sees %v, want %v", devices, c.want)
			}
			if env := w.Run(t, made, "env NVIDIA_VISIBLE_DEVICES"); env != c.env {
				t.Errorf("NVIDIA_VISIBLE_DEVICES is %q, want %q", env, c.env)
			}
			if listed, _ := w.State(t, "gpu"); listed.GPUs.String() != gpus.String() {
				t.Errorf("List tells of GPUs %s", listed.GPUs)
			}
		})
	}
}
