package docker_test

import (
	"errors"
	"strings"
	"testing"

	"keyway/internal/engine"
	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
	"keyway/internal/node"
	"keyway/test/lab"
)

// otherDaemon returns a second daemon on this machine.
func otherDaemon(t *testing.T) daemon {
	t.Helper()
	second, err := lab.StartGPUDocker(enginetest.Context(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	})
	return onDaemon(t, second.Host)
}

// TestAnotherDaemonsWorkspace checks that an engine lists a workspace of another daemon as that
// daemon's, and does not start, stop, remove or replace any part of it.
func TestAnotherDaemonsWorkspace(t *testing.T) {
	ctx := enginetest.Context(t)
	w, second := onDaemon(t, localDocker).world(t), otherDaemon(t)
	made := w.Create(t, w.Spec(t, "train"))
	other, err := docker.New(w.root, programs.Guest, docker.Host(second.host), docker.Owner(w.owner))
	if err != nil {
		t.Fatal(err)
	}
	list, err := node.New(engine.HomesIn(w.root), nil, other).List(ctx)
	if err != nil || len(list.Workspaces) != 1 || list.Workspaces[0].State != keyway.Elsewhere || list.Workspaces[0].Next != "" {
		t.Errorf("the other daemon's list: %+v, %v", list, err)
	}
	spec := w.Spec(t, "train")
	spec.Image = second.image
	_, created := other.Create(ctx, spec, func(keyway.Progress) {})
	for what, err := range map[string]error{
		"create": created, "start": other.Start(ctx, "train"), "stop": other.Stop(ctx, "train", 0), "remove": other.Remove(ctx, "train"),
	} {
		if !keyway.Is(err, keyway.Unreachable) || keyway.AsError(err).Next == "" {
			t.Errorf("%s by the other daemon: %v", what, err)
		}
	}
	if got := w.Run(t, made, "ls /"); got == "" {
		t.Errorf("the workspace says %q", got)
	}
	if err := w.Engine.Remove(ctx, "train"); err != nil {
		t.Error(enginetest.Full(err))
	}
}

// TestWhichDaemon checks that a daemon is identified as the same one each time, and as no other.
func TestWhichDaemon(t *testing.T) {
	ctx := enginetest.Context(t)
	seen := map[string]string{}
	for _, host := range []string{localDocker, localDocker, startPodman(t).Host, otherDaemon(t).host} {
		e, err := docker.New(t.TempDir(), programs.Guest, docker.Host(host))
		if err != nil {
			t.Fatal(err)
		}
		first, err := e.Which(ctx)
		again, err2 := e.Which(ctx)
		if errors.Join(err, err2) != nil || first.ID == "" || first != again || seen[first.ID] != "" && seen[first.ID] != host {
			t.Errorf("%s is %+v and %+v: %v, %v; seen %v", host, first, again, err, err2, seen)
		}
		seen[first.ID] = host
	}
}

// TestOneNameAtTwoDaemons checks two daemons that each have a workspace of the same user and name,
// with a state directory for each. A node that asks one daemon with the other's state directory
// changes neither.
func TestOneNameAtTwoDaemons(t *testing.T) {
	ctx := enginetest.Context(t)
	first := onDaemon(t, localDocker).world(t)
	here := first.Create(t, first.Spec(t, "train"))
	second := otherDaemon(t).world(t)
	there, err := docker.New(second.root, programs.Guest, docker.Host(second.daemon.host), docker.Owner(first.owner))
	if err != nil {
		t.Fatal(err)
	}
	spec := second.Spec(t, "train")
	if _, err := there.Create(ctx, spec, func(keyway.Progress) {}); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	mixed, err := docker.New(second.root, programs.Guest, docker.Host(localDocker), docker.Owner(first.owner))
	if err != nil {
		t.Fatal(err)
	}
	list, err := node.New(engine.HomesIn(second.root), nil, mixed).List(ctx)
	if err != nil || len(list.Workspaces) != 1 || list.Workspaces[0].State != keyway.Elsewhere {
		t.Errorf("the list: %+v, %v", list, err)
	}
	_, created := mixed.Create(ctx, first.Spec(t, "train"), func(keyway.Progress) {})
	for what, err := range map[string]error{
		"create": created, "start": mixed.Start(ctx, "train"), "stop": mixed.Stop(ctx, "train", 0), "remove": mixed.Remove(ctx, "train"),
	} {
		if !keyway.Is(err, keyway.Unreachable) || keyway.AsError(err).Next == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := first.Run(t, here, "ls /"); got == "" {
		t.Errorf("the workspace of the first says %q", got)
	}
	if list, err := there.List(ctx); err != nil || len(list) != 1 || list[0].State != keyway.Running {
		t.Errorf("the second lists %+v, %v", list, err)
	}
	if err := there.Remove(ctx, "train"); err != nil {
		t.Error(enginetest.Full(err))
	}
}

// TestAForeignContainerHasTheName checks that a container that is no workspace is reported as such,
// and is neither entered nor removed.
func TestAForeignContainerHasTheName(t *testing.T) {
	ctx := enginetest.Context(t)
	w := onDaemon(t, localDocker).world(t)
	name := "keyway-" + w.owner + "-train"
	if out, err := w.tool("create", "--name", name, w.daemon.image, "true").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := w.tool("rm", "-f", name).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	_, err := w.Engine.Create(ctx, w.Spec(t, "train"), func(keyway.Progress) {})
	help := ""
	if e := keyway.AsError(err); e != nil {
		help = e.Help()
	}
	if !keyway.Is(err, keyway.NameTaken) || !strings.Contains(err.Error(), name) || !strings.Contains(help, "docker inspect "+name) || !strings.Contains(help, "other-name train-2") || strings.Contains(help, "enter-or-remove") {
		t.Errorf("got %v; %s", err, help)
	}
	if err := w.Engine.Remove(ctx, "train"); !keyway.Is(err, keyway.NotFound) {
		t.Errorf("removed: %v", err)
	}
}
