package docker_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
	"keyway/test/lab"
)

// gpuPlace returns a place with the stand-in GPUs of a lab, and leases of its own.
func gpuPlace(t *testing.T, gpus int) (*gpu.Pool, *lab.FakeSMI) {
	t.Helper()
	smi, err := lab.NewFakeSMI(t.TempDir(), gpus)
	if err != nil {
		t.Fatal(err)
	}
	return gpu.At(filepath.Join(t.TempDir(), "leases"), smi.Program, time.Minute), smi
}

// blindPlace returns a place without nvidia-smi.
func blindPlace(t *testing.T) *gpu.Pool {
	return gpu.At(filepath.Join(t.TempDir(), "leases"), "/no/such/nvidia-smi", time.Minute)
}

// seeDevices returns the UUIDs of the GPUs whose device files are visible in a workspace.
func seeDevices(t testing.TB, s enginetest.Subject, w keyway.Workspace) []string {
	var ids []string
	for _, name := range strings.Fields(s.Run(t, w, "ls /dev")) {
		if number, found := strings.CutPrefix(name, "nvidia"); found {
			ids = append(ids, lab.LabGPU(atoi(t, number)))
		}
	}
	slices.Sort(ids)
	return ids
}

// lendGPUs runs the contract for GPUs on a daemon with three of them.
func lendGPUs(t *testing.T, d daemon, kill func(w world) func(testing.TB, keyway.Name), opts ...docker.Option) {
	place, smi := gpuPlace(t, 3)
	opts = append(opts, docker.GPUsFrom(place))
	mine, other := d.world(t, opts...), d.world(t, opts...)
	mine.Kill = kill(mine)
	enginetest.GPUs(t, mine.Subject, enginetest.GPULab{
		UUIDs: []string{lab.LabGPU(0), lab.LabGPU(1), lab.LabGPU(2)}, Other: other.Subject, See: seeDevices,
		Compute: func(t testing.TB, pids map[int]int) {
			if err := smi.Compute(pids); err != nil {
				t.Fatal(err)
			}
		},
	})
}

func TestGPUs(t *testing.T) {
	daemon, err := lab.StartGPUDocker(enginetest.Context(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("dockerd said:\n%s", daemon.Log())
		}
		if err := daemon.Close(); err != nil {
			t.Error(err)
		}
	})
	d := onDaemon(t, daemon.Host)
	kill := func(w world) func(testing.TB, keyway.Name) { return w.kill }
	t.Run("Bind", func(t *testing.T) { lendGPUs(t, d, kill) })
	t.Run("Exec", func(t *testing.T) {
		place, _ := gpuPlace(t, 3)
		w := d.world(t, docker.GPUsFrom(place), docker.ByExec())
		spec := w.Spec(t, "exec")
		spec.GPUs.Count = 2
		if got := seeDevices(t, w.Subject, w.Create(t, spec)); !slices.Equal(got, []string{lab.LabGPU(0), lab.LabGPU(1)}) {
			t.Errorf("it sees %q", got)
		}
	})
	t.Run("Unlisted", func(t *testing.T) { testUnlistedGPUs(t, d.world(t, docker.GPUsFrom(blindPlace(t))), true) })
	t.Run("Adopted", func(t *testing.T) { testAdoptedGPUs(t, d) })
	t.Run("Wrong", func(t *testing.T) { testWrongGPUs(t, d) })
}

// testAdoptedGPUs adopts a container that already has GPUs: all users see the holder.
func testAdoptedGPUs(t *testing.T, d daemon) {
	place, _ := gpuPlace(t, 3)
	mine, other := d.world(t, docker.GPUsFrom(place)), d.world(t, docker.GPUsFrom(place))
	ctx := enginetest.Context(t)
	made, err := d.client.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: "gpu_train", Config: &container.Config{Image: d.image, Entrypoint: []string{"/tool", "hang"}},
		HostConfig: &container.HostConfig{Resources: container.Resources{DeviceRequests: []container.DeviceRequest{
			{DeviceIDs: []string{lab.LabGPU(2)}, Capabilities: [][]string{{"gpu"}}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = d.client.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true})
	})
	if _, err := d.client.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	adopter := mine.Engine.(interface {
		Adopt(context.Context, keyway.Adoption, func(keyway.Progress)) (keyway.Workspace, error)
	})
	w, err := adopter.Adopt(ctx, keyway.Adoption{Name: "adopted", Container: "gpu_train", Access: keyway.Access{AuthorizedKeys: []string{enginetest.AuthorizedKey(t)}}}, enginetest.Quiet)
	if err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if w.GPUs.String() != lab.LabGPU(2) {
		t.Errorf("it has the GPUs %s", w.GPUs)
	}
	if listed, _ := mine.State(t, "adopted"); listed.GPUs.String() != lab.LabGPU(2) || listed.State != keyway.Running {
		t.Errorf("List tells of GPUs %s, and it is %s", listed.GPUs, listed.State)
	}
	holder := func(what string, want keyway.Name) {
		t.Helper()
		report, err := place.Report(ctx, nil) // as users without access to the engine see it
		if err != nil || len(report.GPUs) != 3 {
			t.Fatal(err, report)
		}
		var got keyway.Name
		if h := report.GPUs[2].Holder; h != nil {
			got = h.Workspace
		}
		if got != want {
			t.Errorf("%s, the GPU is held by %q, want %q", what, got, want)
		}
	}
	holder("adopted", "adopted")
	spec := other.Spec(t, "other")
	spec.GPUs.IDs = []string{lab.LabGPU(2)}
	if _, err := other.Engine.Create(ctx, spec, enginetest.Quiet); !keyway.Is(err, keyway.NoGPU) || !strings.Contains(err.Error(), "adopted") {
		t.Errorf("it is lent again: %v", err)
	}
	if err := mine.Engine.Stop(ctx, "adopted", 0); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	holder("stopped", "")
	if err := mine.Engine.Start(ctx, "adopted"); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	holder("started again", "adopted")
	if err := mine.Engine.Remove(ctx, "adopted"); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	holder("removed", "")
}

// testUnlistedGPUs asks a daemon for GPUs at a place that cannot list them. CDI's descriptions set
// the variable inside to another value.
func testUnlistedGPUs(t *testing.T, w world, variable bool) {
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
			if env := w.Run(t, made, "env NVIDIA_VISIBLE_DEVICES"); variable && env != c.env {
				t.Errorf("NVIDIA_VISIBLE_DEVICES is %q, want %q", env, c.env)
			}
			if listed, _ := w.State(t, "gpu"); listed.GPUs.String() != gpus.String() {
				t.Errorf("List tells of GPUs %s", listed.GPUs)
			}
		})
	}
}

// testWrongGPUs uses a daemon that provides other GPUs than the requested ones, because its hook
// numbers them differently from the driver.
func testWrongGPUs(t *testing.T, d daemon) {
	place, smi := gpuPlace(t, 3)
	if err := smi.Renumber(map[int]int{0: 1, 1: 0}); err != nil {
		t.Fatal(err)
	}
	w := d.world(t, docker.GPUsFrom(place))
	spec := w.Spec(t, "wrong")
	spec.GPUs.IDs = []string{"0"}
	_, err := w.Engine.Create(enginetest.Context(t), spec, enginetest.Quiet)
	enginetest.WantKind(t, err, keyway.NoGPU)
	if !strings.Contains(err.Error(), "nvidia1 is missing, ") && !strings.Contains(err.Error(), "nvidia0 is there and was not asked for") {
		t.Error(enginetest.Full(err))
	}
	w.WantNothingOf(t, "wrong")
}

// TestPodmanGPUs checks the lending of GPUs to containers that Podman makes through its own API.
// Their processes are in another namespace, so only the labels name the holder of each GPU.
func TestPodmanGPUs(t *testing.T) {
	for name, byUUID := range map[string]bool{"ByIndex": false, "ByUUID": true} {
		t.Run(name, func(t *testing.T) {
			podman, err := lab.StartGPUPodman(enginetest.Context(t), 3, byUUID)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("podman said:\n%s", podman.Log())
				}
				if err := podman.Close(); err != nil {
					t.Error(err)
				}
			})
			d := onDaemon(t, podman.Host)
			kill := func(w world) func(testing.TB, keyway.Name) { return w.killByAPI }
			if byUUID {
				testPodmanFields(t, d)
				return
			}
			lendGPUs(t, d, kill, docker.Podman())
		})
	}
}

// testPodmanFields sets every field of a Spec together with a GPU. It checks that Podman's own API
// makes the same container as its compatible one.
func testPodmanFields(t *testing.T, d daemon) {
	place, _ := gpuPlace(t, 3)
	w := d.world(t, docker.Podman(), docker.GPUsFrom(place))
	w.Kill = w.killByAPI
	w.Also = func(s *keyway.Spec) { s.GPUs.Count = 1 }
	enginetest.Fields(t, w.Subject)
}
