package docker_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
	"keyway/test/lab"
)

// TestRootlessPodman checks the differences of a Podman without root: other users of its containers
// have numbers that belong to no user outside, and their root is the owner.
func TestRootlessPodman(t *testing.T) {
	podman, err := lab.StartRootlessPodman(enginetest.Context(t), strangerUID)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("podman said:\n%s", podman.Log())
		}
		if err := podman.Close(); err != nil {
			t.Error(err)
		}
	}()
	// The parts of the contract that may differ there; all of it takes minutes.
	const parts = "TestPodmanOfAStranger$/^(Adopt|Told|Robber|Peeker|SecondUser|Hostile|RunsSave|Fields)$/^(Removed|Process.Caller|Resources.(CPUs|Ulimits.Name))"
	said := asStranger(t, parts, strangerUID, envSocket+"="+podman.Host)
	for _, name := range []string{"Adopt/Removed", "Told", "Robber", "Peeker", "SecondUser", "Hostile", "RunsSave", "Fields/Process.Caller", "Fields/Resources.CPUs"} {
		if !strings.Contains(said, "--- PASS: TestPodmanOfAStranger/"+name) {
			t.Errorf("%s did not run:\n%s", name, said)
		}
	}
}

// TestPodmanOfAStranger is not a test of its own: TestRootlessPodman runs it as another user.
func TestPodmanOfAStranger(t *testing.T) {
	socket := os.Getenv(envSocket)
	if socket == "" {
		return
	}
	w := onDaemon(t, socket).world(t, docker.Podman())
	w.Kill = w.killByAPI
	t.Run("Adopt", func(t *testing.T) {
		adopts(t, onDaemon(t, socket), []string{"Removed"}, docker.Podman())
	})
	t.Run("Told", func(t *testing.T) { toldBefore(t, w) })
	t.Run("SecondUser", func(t *testing.T) { secondUser(t, w) })
	t.Run("Hostile", func(t *testing.T) { hostileHome(t, w) })
	enginetest.Run(t, w.Subject)
}

// toldBefore checks that a limit that the engine cannot give is refused before an image is pulled,
// also for keyway check.
func toldBefore(t *testing.T, w world) {
	spec := w.Spec(t, "told")
	spec.Memory = 1 << 30
	early := w.Engine.(interface {
		Refuses(ctx context.Context, s keyway.Spec) error
	}).Refuses(enginetest.Context(t), spec)
	_, err := w.Engine.Create(enginetest.Context(t), spec, func(keyway.Progress) {})
	if err == nil {
		err = w.Engine.Remove(enginetest.Context(t), spec.Name)
		if early != nil || err != nil {
			t.Errorf("it is made, and was refused before: %v; %v", early, err)
		}
		return
	}
	if early == nil || early.Error() != err.Error() {
		t.Errorf("before: %v; when it is made: %v", early, err)
	}
}

// hostileHome has a user of the workspace leave directories in the Home that the owner at the place
// cannot read.
func hostileHome(t *testing.T, w world) {
	spec := w.Spec(t, "hostile")
	spec.User = "12345:54321"
	made := w.Create(t, spec)
	for _, command := range []string{"hide /.keyway", "hide /.keyway/data"} {
		if out, err := w.Try(t, made, command); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	if now, _ := w.State(t, "hostile"); now.State != keyway.Running {
		t.Errorf("it is %s (%s)", now.State, now.Reason)
	}
	// The owner can save all files of the guest. Only the container's user can save those that it
	// hides.
	out, err := exec.Command("tar", "-cf", "/dev/null", "--exclude", "hidden", "-C", w.root, ".").CombinedOutput()
	if err != nil {
		t.Errorf("a backup fails: %v: %s", err, out)
	}
	if err := w.Engine.Remove(enginetest.Context(t), "hostile"); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	w.WantNothingOf(t, "hostile")
}
