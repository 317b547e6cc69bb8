package docker_test

import (
	"slices"
	"testing"

	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
)

// TestHalfMade checks a container whose node was killed between making and starting it: it does not
// count as a stopped workspace, nothing starts it, and the workspace can be made and removed.
func TestHalfMade(t *testing.T) {
	t.Run("Docker", func(t *testing.T) {
		modes(t, func(t *testing.T, w world) { w.halfMade(t) })
	})
	t.Run("Podman", func(t *testing.T) { onDaemon(t, startPodman(t).Host).world(t, docker.Podman()).halfMade(t) })
}

func (w world) halfMade(t *testing.T) {
	halve := func() {
		t.Helper()
		w.Create(t, w.Spec(t, "half"))
		ctx := enginetest.Context(t)
		found, err := w.daemon.client.ContainerInspect(ctx, w.container("half"), client.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.daemon.client.ContainerRemove(ctx, found.Container.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			t.Fatal(err)
		}
		plan := client.ContainerCreateOptions{Name: w.container("half"), Config: found.Container.Config, HostConfig: found.Container.HostConfig}
		plan.Config.Hostname = ""
		plan.HostConfig.Ulimits = nil // Podman describes them by names that it does not accept itself
		if _, err := w.daemon.client.ContainerCreate(ctx, plan); err != nil {
			t.Fatal(err)
		}
		now, there := w.State(t, "half")
		if !there || now.State != keyway.Broken || now.Reason != engine.HalfMade || now.Next != keyway.FinishOrRemove || now.Sessions > 0 {
			t.Errorf("it is %s: %q, and next is %q", now.State, now.Reason, now.Next)
		}
		_, err = w.Engine.Dial(enginetest.Context(t), "half")
		enginetest.WantKind(t, err, keyway.NotRunning)
		err = w.Engine.Start(enginetest.Context(t), "half")
		enginetest.WantKind(t, err, keyway.NotRunning)
		if said := keyway.AsError(err); said.Message != "the workspace half is "+engine.HalfMade || len(said.Advice) != 1 {
			t.Errorf("%s: %v", enginetest.Full(err), said.Advice)
		}
	}
	remove := func() {
		t.Helper()
		if err := w.Engine.Remove(enginetest.Context(t), "half"); err != nil {
			t.Fatal(enginetest.Full(err))
		}
		w.WantNothingOf(t, "half")
	}
	halve()
	remove()
	halve()
	made := w.Create(t, w.Spec(t, "half"))
	if got := w.Run(t, made, "env "+keyway.EnvName); got != "half" {
		t.Errorf("made again, inside is %q", got)
	}
	_, err := w.Engine.Create(enginetest.Context(t), w.Spec(t, "half"), enginetest.Quiet)
	enginetest.WantKind(t, err, keyway.NameTaken)
	remove()
}

// TestNewVolumesAreRecorded checks that a place knows which volumes were made with a workspace, and
// which were there before.
func TestNewVolumesAreRecorded(t *testing.T) {
	t.Run("Docker", func(t *testing.T) {
		modes(t, func(t *testing.T, w world) { w.newVolumes(t) })
	})
	t.Run("Podman", func(t *testing.T) { onDaemon(t, startPodman(t).Host).world(t, docker.Podman()).newVolumes(t) })
}

func (w world) newVolumes(t *testing.T) {
	mount := func(name string) keyway.Mount {
		return keyway.Mount{Kind: keyway.MountVolume, Source: name, Target: "/mnt/" + name}
	}
	keeper := w.Engine.(engine.VolumeKeeper)
	for _, c := range []struct {
		name keyway.Name
		also string
		want []string
	}{{"first", "", []string{"one", "home"}}, {"second", "two", []string{"two"}}} {
		spec := w.Spec(t, c.name)
		spec.Mounts, spec.HomeVolume = []keyway.Mount{mount("one"), {Kind: keyway.MountVolume, Target: "/mnt/none"}}, "home"
		if c.also != "" {
			spec.Mounts = append(spec.Mounts, mount(c.also))
		}
		w.Create(t, spec)
		rec, err := engine.HomesIn(w.root).Record(c.name)
		if err != nil || !slices.Equal(rec.Fresh, c.want) {
			t.Errorf("%s made %q, want %q, %v", c.name, rec.Fresh, c.want, err)
		}
		if err := w.Engine.Remove(enginetest.Context(t), c.name); err != nil {
			t.Fatal(enginetest.Full(err))
		}
	}
	for _, name := range []string{"one", "two", "home"} {
		if err := keeper.RemoveVolume(enginetest.Context(t), name); err != nil {
			t.Error(err)
		}
	}
}
