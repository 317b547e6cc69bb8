//go:build nvidia

package docker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
	"keyway/test/lab"
)

// TestNVIDIARuntime checks the lending of GPUs on a dockerd whose default runtime is NVIDIA's.
// "make nvidia" builds that runtime; CI has no time for it.
func TestNVIDIARuntime(t *testing.T) {
	// The compilers need half a minute of CPU, which takes longer on a busy machine.
	building, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	runtime, err := lab.NVIDIARuntime(building)
	if err != nil {
		t.Fatal(err)
	}
	daemon, err := lab.StartNVIDIADocker(enginetest.Context(t), runtime, 3)
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
	d := onDaemon(t, daemon.Host, "ENV NVIDIA_VISIBLE_DEVICES=all")
	t.Run("Lent", func(t *testing.T) {
		lendGPUs(t, d, func(w world) func(testing.TB, keyway.Name) { return w.kill })
	})
	t.Run("Unlisted", func(t *testing.T) { testUnlistedGPUs(t, d.world(t, docker.GPUsFrom(blindPlace(t))), false) })
	t.Run("Unasked", func(t *testing.T) { testUnaskedGPUs(t, d.world(t)) })
}

// testUnaskedGPUs uses an image that asks for all GPUs, which the runtime then provides, and makes
// a workspace of it without GPUs.
func testUnaskedGPUs(t *testing.T, w world) {
	out, err := w.tool("run", "--rm", "--entrypoint", "/tool", w.Image, "ls", "/dev").CombinedOutput()
	if err != nil || strings.Count(string(out), "nvidia") != 3 {
		t.Fatalf("docker run sees %s, %v: this is not what the runtime is known to do", out, err)
	}
	if got := seeDevices(t, w.Subject, w.Create(t, w.Spec(t, "unasked"))); len(got) != 0 {
		t.Errorf("a workspace that asks for no GPU sees %q", got)
	}
}
