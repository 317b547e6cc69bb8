package docker_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/engine/docker"
	says "keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
)

func TestAdopt(t *testing.T) {
	adopts(t, onDaemon(t, localDocker), nil)
}

// TestAdoptOfPodman checks only the parts of the contract that may differ with Podman, because the
// whole contract takes long.
func TestAdoptOfPodman(t *testing.T) {
	adopts(t, onDaemon(t, startPodman(t).Host), []string{"Enter", "StopAndStart", "Removed", "Restarted"}, docker.Podman())
}

// adopts runs the contract of an engine that adopts, or parts of it, on a daemon.
func adopts(t *testing.T, d daemon, parts []string, opts ...docker.Option) {
	w, other := d.world(t, opts...), d.world(t, opts...)
	enginetest.Adopt(t, w.Subject, enginetest.AdoptLab{Other: other.Subject, Make: d.makeForeign, Do: d.do, First: d.first, Has: d.has}, parts...)
	if left := append(w.Left(t), other.Left(t)...); len(left) > 0 {
		t.Errorf("after all tests there are left: %q", left)
	}
}

func (d daemon) makeForeign(t testing.TB, f enginetest.Foreign) {
	t.Helper()
	h := &container.HostConfig{ReadonlyRootfs: f.ReadOnly}
	if f.Dropped {
		h.CapDrop = []string{"ALL"}
	}
	made, err := d.client.ContainerCreate(enginetest.Context(t), client.ContainerCreateOptions{
		Name: f.Name, HostConfig: h,
		Config: &container.Config{Image: d.image, Entrypoint: []string{"/tool", "hang"}, User: f.User, Env: f.Env},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = d.client.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true})
	})
	if _, err := d.client.ContainerStart(enginetest.Context(t), made.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (d daemon) do(t testing.TB, verb, name string) {
	t.Helper()
	ctx, err := enginetest.Context(t), error(nil)
	switch verb {
	case "start":
		_, err = d.client.ContainerStart(ctx, name, client.ContainerStartOptions{})
	case "stop":
		_, err = d.client.ContainerStop(ctx, name, client.ContainerStopOptions{Timeout: new(0)})
	case "restart":
		_, err = d.client.ContainerRestart(ctx, name, client.ContainerRestartOptions{Timeout: new(0)})
	case "pause":
		_, err = d.client.ContainerPause(ctx, name, client.ContainerPauseOptions{})
	case "unpause":
		_, err = d.client.ContainerUnpause(ctx, name, client.ContainerUnpauseOptions{})
	case "rm":
		_, err = d.client.ContainerRemove(ctx, name, client.ContainerRemoveOptions{Force: true})
	}
	if err != nil {
		t.Fatalf("%s %s: %v", verb, name, err)
	}
}

func (d daemon) first(t testing.TB, name string) string {
	t.Helper()
	found, err := d.client.ContainerInspect(enginetest.Context(t), name, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !found.Container.State.Running {
		return ""
	}
	return found.Container.State.StartedAt
}

func (d daemon) has(t testing.TB, name, path string) bool {
	t.Helper()
	_, err := d.client.ContainerStatPath(enginetest.Context(t), name, client.ContainerStatPathOptions{Path: path})
	if err != nil && !says.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

// TestAdoptForAnotherProcessor checks the error for a guest program that the machine cannot run.
func TestAdoptForAnotherProcessor(t *testing.T) {
	d := onDaemon(t, localDocker)
	foreign := engine.Guest{Dir: filepath.Join(t.TempDir(), "guest"), Version: keyway.Version}
	build := exec.Command("go", "build", "-o", filepath.Join(foreign.Dir, keyway.GuestProgram), "keyway/internal/engine/enginetest/tool")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=riscv64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	root := filepath.Join(workDir, "riscv64")
	e, err := docker.New(root, foreign, docker.Host(d.host), docker.Owner("61235"))
	if err != nil {
		t.Fatal(err)
	}
	d.makeForeign(t, enginetest.Foreign{Name: "web"})
	a := keyway.Adoption{Name: "foreign", Container: "web", Access: keyway.Access{AuthorizedKeys: []string{enginetest.AuthorizedKey(t)}}}
	_, err = e.Adopt(enginetest.Context(t), a, enginetest.Quiet)
	enginetest.WantKind(t, err, keyway.GuestFailed)
	if !strings.Contains(err.Error(), "another kind of processor") {
		t.Error(enginetest.Full(err))
	}
	if left, err := os.ReadDir(filepath.Join(root, "workspaces")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
