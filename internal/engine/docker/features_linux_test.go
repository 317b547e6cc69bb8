package docker_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
)

// modes runs a test for both modes of reaching a guest.
func modes(t *testing.T, test func(*testing.T, world)) {
	d := onDaemon(t, localDocker)
	t.Run("Bind", func(t *testing.T) { test(t, d.world(t)) })
	t.Run("Exec", func(t *testing.T) { test(t, d.world(t, docker.ByExec())) })
}

func TestStopThatCannotTellItsGrace(t *testing.T) {
	w := onDaemon(t, localDocker).world(t)
	w.GraceUntold(t, keyway.Home(filepath.Join(w.root, "workspaces", "untold")))
}

func TestWhatIsAskedForIsGiven(t *testing.T) {
	modes(t, func(t *testing.T, w world) {
		data := t.TempDir()
		if err := os.WriteFile(filepath.Join(data, "file"), []byte("data"), 0o644); err != nil {
			t.Fatal(err)
		}
		spec := w.Spec(t, "asked")
		spec.ShmSize = 96 << 20
		spec.Mounts = []keyway.Mount{{Source: data, Target: "/mnt/rw"}, {Source: data, Target: "/mnt/ro", ReadOnly: true}}
		spec.Workdir = "/mnt/rw"
		made := w.Create(t, spec)
		if got := w.Run(t, made, "shm"); got != "100663296" {
			t.Errorf("/dev/shm has %s bytes", got)
		}
		if got := w.Run(t, made, "pwd"); got != "/mnt/rw" {
			t.Errorf("people start in %s", got)
		}
		if got := w.Run(t, made, "cat /mnt/ro/file"); got != "data" {
			t.Errorf("the mounted file holds %q", got)
		}
		w.Run(t, made, "write /mnt/rw/new text")
		if _, err := os.Stat(filepath.Join(data, "new")); err != nil {
			t.Error(err)
		}
		if _, err := w.Try(t, made, "write /mnt/ro/new text"); err == nil {
			t.Error("a read-only mount was written to")
		}
		if got := w.Run(t, made, "env NVIDIA_VISIBLE_DEVICES"); got != "void" {
			t.Errorf("NVIDIA_VISIBLE_DEVICES is %q without GPUs", got)
		}
		w.wantPrivate(t, "asked")
	})
}

// wantPrivate fails if a port is published or a network was changed.
func (w world) wantPrivate(t *testing.T, name keyway.Name) {
	t.Helper()
	found, err := w.daemon.client.ContainerInspect(enginetest.Context(t), w.container(name), client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := found.Container.HostConfig
	if len(h.PortBindings) > 0 || h.PublishAllPorts || h.NetworkMode != "default" || h.Privileged || len(h.CapAdd) > 0 {
		t.Errorf("the container is open: %+v", h)
	}
	var spec keyway.Spec
	if err := json.Unmarshal([]byte(found.Container.Config.Labels["dev.keyway.spec"]), &spec); err != nil || spec.Name != name || len(spec.AuthorizedKeys) > 0 {
		t.Errorf("the label tells %+v, %v", spec, err)
	}
}

// TestNetworksPublishNothing checks that a workspace on any network is entered through its socket,
// and that none of its ports is published, even if its image exposes one.
func TestNetworksPublishNothing(t *testing.T) {
	d := onDaemon(t, localDocker, "EXPOSE 8080/tcp")
	own := fmt.Sprintf("keyway-test-%d", os.Getpid())
	if out, err := exec.Command("docker", "-H", localDocker, "network", "create", own).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("docker", "-H", localDocker, "network", "rm", own).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	w := d.world(t)
	for _, network := range []string{keyway.NetworkHost, keyway.NetworkNone, own, ""} {
		spec := w.Spec(t, "networked")
		spec.Network, spec.IPC = network, keyway.IPCShareable
		made := w.Create(t, spec)
		if got := w.Run(t, made, "env "+keyway.EnvName); got != "networked" {
			t.Errorf("%s: inside is %q", network, got)
		}
		found, err := d.client.ContainerInspect(enginetest.Context(t), w.container("networked"), client.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		h := found.Container.HostConfig
		if network != "" && string(h.NetworkMode) != network || string(h.IpcMode) != keyway.IPCShareable {
			t.Errorf("it has the network %s and the IPC %s; asked for is %s", h.NetworkMode, h.IpcMode, network)
		}
		if h.PublishAllPorts || len(h.PortBindings) > 0 {
			t.Errorf("%s: ports are published: %+v", network, h.PortBindings)
		}
		if err := w.Engine.Remove(enginetest.Context(t), "networked"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOrdinaryUserOnReadOnlyFiles(t *testing.T) {
	modes(t, func(t *testing.T, w world) {
		spec := w.Spec(t, "strict")
		spec.User, spec.ReadOnly = "12345:54321", true
		made := w.Create(t, spec)
		if made.Guest.UID != 12345 {
			t.Errorf("the guest says its uid is %d", made.Guest.UID)
		}
		if got := w.Run(t, made, "id"); got != "12345:54321" {
			t.Errorf("commands run as %s", got)
		}
		w.Run(t, made, "write /tmp/file text")
		if _, err := w.Try(t, made, "write /file text"); err == nil {
			t.Error("the root file system can be written to")
		}
		if err := w.Engine.Stop(enginetest.Context(t), "strict", time.Second); err != nil {
			t.Fatal(enginetest.Full(err))
		}
		if err := w.Engine.Start(enginetest.Context(t), "strict"); err != nil {
			t.Fatal(enginetest.Full(err))
		}
		if got := w.Run(t, made, "id"); got != "12345:54321" {
			t.Errorf("after Start commands run as %s", got)
		}
		if err := w.Engine.Remove(enginetest.Context(t), "strict"); err != nil {
			t.Fatal(enginetest.Full(err))
		}
		if left := w.Left(t); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	})
}

// TestImageIsKept uses an image whose entry point, health check and stop signal would break a
// workspace. It checks that the workspace works and has the image's environment.
func TestImageIsKept(t *testing.T) {
	d := onDaemon(t, localDocker,
		"ENV FROM_IMAGE=yes", "ENV NVIDIA_VISIBLE_DEVICES=all", "WORKDIR /proc", "USER 4321", "VOLUME /volume", "EXPOSE 80",
		"LABEL dev.keyway.owner=0")
	d.image = d.derive(t, "--stop-signal", "SIGWINCH", "--health-cmd", "false", "--entrypoint", "/no/such/program")
	for name, opts := range map[string][]docker.Option{"Bind": nil, "Exec": {docker.ByExec()}} {
		t.Run(name, func(t *testing.T) { testImageIsKept(t, d.world(t, opts...)) })
	}
}

// derive makes an image with what the options of docker create say.
func (d daemon) derive(t *testing.T, options ...string) string {
	t.Helper()
	w := world{daemon: d}
	out, err := w.tool(append(append([]string{"create"}, options...), d.image, "none")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	id, image := strings.TrimSpace(string(out)), strings.Replace(d.image, "keyway-test", "keyway-test-derived", 1)
	if out, err := w.tool("commit", id, image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := w.tool("rm", "-v", id).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := w.tool("rmi", image).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return image
}

func testImageIsKept(t *testing.T, w world) {
	made := w.Create(t, w.Spec(t, "kept"))
	for args, want := range map[string]string{"env FROM_IMAGE": "yes", "pwd": "/proc", "id": "4321:0", "env NVIDIA_VISIBLE_DEVICES": "void"} {
		if got := w.Run(t, made, args); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	if err := w.Engine.Stop(enginetest.Context(t), "kept", time.Second); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if now, _ := w.State(t, "kept"); now.Reason != "was stopped" {
		t.Errorf("after Stop: %s (%s)", now.State, now.Reason)
	}
	if err := w.Engine.Remove(enginetest.Context(t), "kept"); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if left := w.Left(t); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestRefusals(t *testing.T) {
	d := onDaemon(t, localDocker)
	w := d.world(t)
	for name, c := range map[string]struct {
		kind   keyway.Kind
		says   string
		change func(*keyway.Spec)
	}{
		"mount source":    {keyway.Usage, "/no/such/directory", func(s *keyway.Spec) { s.Mounts = []keyway.Mount{{Source: "/no/such/directory", Target: "/mnt"}} }},
		"mount on a file": {keyway.Usage, "/tool", func(s *keyway.Spec) { s.Mounts = []keyway.Mount{{Source: "/tmp", Target: "/tool"}} }},
		"mount on us":     {keyway.Usage, "keyway's own", func(s *keyway.Spec) { s.Mounts = []keyway.Mount{{Source: "/tmp", Target: "/.keyway/bin"}} }},
		"mount relative":  {keyway.Usage, "absolute", func(s *keyway.Spec) { s.Mounts = []keyway.Mount{{Source: "tmp", Target: "/mnt"}} }},
		"user":            {keyway.Usage, "nosuchuser", func(s *keyway.Spec) { s.User = "nosuchuser" }},
		"workdir":         {keyway.Usage, "/tool", func(s *keyway.Spec) { s.Workdir = "/tool" }},
		"workdir there":   {keyway.Usage, "absolute", func(s *keyway.Spec) { s.Workdir = "here" }},
		"no image":        {keyway.Usage, "image", func(s *keyway.Spec) { s.Image = "" }},
		"bad image":       {keyway.Usage, "UPPER", func(s *keyway.Spec) { s.Image = "UPPER/Case" }},
		"network":         {keyway.Usage, "no network nosuchnet", func(s *keyway.Spec) { s.Network = "nosuchnet" }},
		"network of one":  {keyway.Usage, "not a network", func(s *keyway.Spec) { s.Network = "container:other" }},
		"IPC of one":      {keyway.Usage, "not an IPC namespace", func(s *keyway.Spec) { s.IPC = "container:other" }},
		"IPC and size":    {keyway.Usage, "a size is asked for", func(s *keyway.Spec) { s.IPC, s.ShmSize = keyway.IPCHost, 1<<20 }},
		"GPUs":            {keyway.NoGPU, "cannot give GPUs", func(s *keyway.Spec) { s.GPUs.All = true }},
	} {
		t.Run(name, func(t *testing.T) {
			spec := w.Spec(t, "refused")
			c.change(&spec)
			_, err := w.Engine.Create(enginetest.Context(t), spec, enginetest.Quiet)
			enginetest.WantKind(t, err, c.kind)
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says: %s", enginetest.Full(err))
			}
			t.Log(enginetest.Full(err))
			if left := w.Left(t); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

func TestBroken(t *testing.T) {
	modes(t, func(t *testing.T, w world) {
		made := w.Create(t, w.Spec(t, "broken"))
		if out, err := w.tool("pause", w.container("broken")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if now, _ := w.State(t, "broken"); now.State != keyway.Broken || !strings.Contains(now.Reason, "paused") {
			t.Errorf("paused it is %s (%s)", now.State, now.Reason)
		}
		if err := w.Engine.Start(enginetest.Context(t), "broken"); err != nil {
			t.Fatal(enginetest.Full(err))
		}
		if got := w.Run(t, made, "env KEYWAY_WORKSPACE"); got != "broken" {
			t.Errorf("after Start: %q", got)
		}
		for _, pid := range w.servers(t, "broken") {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		if now := w.Await(t, "broken", keyway.Broken); !strings.Contains(now.Reason, "does not answer") {
			t.Errorf("with its guest halted it is broken: %s", now.Reason)
		}
	})
}

// TestStartedByOtherMeans checks that a container that was started by other means has no key, until
// keyway starts it.
func TestStartedByOtherMeans(t *testing.T) {
	modes(t, func(t *testing.T, w world) {
		made := w.Create(t, w.Spec(t, "by-hand"))
		if err := w.Engine.Stop(enginetest.Context(t), "by-hand", 0); err != nil {
			t.Fatal(enginetest.Full(err))
		}
		if out, err := w.tool("start", w.container("by-hand")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		w.saysStarted(t, "by-hand")
		for range 2 { // the second has nothing to do
			if err := w.Engine.Start(enginetest.Context(t), "by-hand"); err != nil {
				t.Fatal(enginetest.Full(err))
			}
			if got := w.Run(t, made, "env KEYWAY_WORKSPACE"); got != "by-hand" {
				t.Errorf("after Start: %q", got)
			}
		}
	})
}

// saysStarted checks the state of a workspace whose container was started by other means.
func (w world) saysStarted(t *testing.T, name keyway.Name) {
	t.Helper()
	if now, _ := w.State(t, name); now.State != keyway.Broken || !strings.Contains(now.Reason, "started by other means") || now.Next != keyway.StartNow {
		t.Errorf("without a key it is %s (%s), next %q", now.State, now.Reason, now.Next)
	}
	if strings.HasSuffix(t.Name(), "/Exec") { // which reaches the guest program, and not the guest
		return
	}
	_, err := w.Engine.Dial(enginetest.Context(t), name)
	enginetest.WantKind(t, err, keyway.NotRunning)
}

// TestRenamed checks that a renamed container is still its workspace, and no other one.
func TestRenamed(t *testing.T) {
	w := onDaemon(t, localDocker).world(t)
	made := w.Create(t, w.Spec(t, "renamed"))
	if out, err := w.tool("rename", w.container("renamed"), "mine").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if now := w.Await(t, "renamed", keyway.Running); now.Reason != "" {
		t.Errorf("it is running (%s)", now.Reason)
	}
	_, err := w.Engine.Create(enginetest.Context(t), w.Spec(t, "renamed"), enginetest.Quiet)
	enginetest.WantKind(t, err, keyway.NameTaken)
	if err := w.Engine.Stop(enginetest.Context(t), "renamed", 0); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if err := w.Engine.Start(enginetest.Context(t), "renamed"); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if got := w.Run(t, made, "env KEYWAY_WORKSPACE"); got != "renamed" {
		t.Errorf("inside is %q", got)
	}
	if err := w.Engine.Remove(enginetest.Context(t), "renamed"); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	w.WantNothingOf(t, "renamed")
}

// servers returns the serving processes in the workspace, as this machine sees them.
func (w world) servers(t *testing.T, name keyway.Name) []int {
	t.Helper()
	found, err := w.daemon.client.ContainerTop(enginetest.Context(t), w.container(name), client.ContainerTopOptions{Arguments: []string{"-eo", "pid,args"}})
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, p := range found.Processes {
		if len(p) > 1 && strings.Contains(p[1], " serve ") {
			pids = append(pids, atoi(t, p[0]))
		}
	}
	if len(pids) == 0 {
		t.Fatalf("no server among %v", found.Processes)
	}
	return pids
}

func TestRemovedBehindOurBack(t *testing.T) {
	modes(t, func(t *testing.T, w world) {
		for _, again := range []bool{true, false} {
			w.Create(t, w.Spec(t, "behind"))
			if out, err := w.tool("rm", "-fv", w.container("behind")).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if now, there := w.State(t, "behind"); there {
				t.Errorf("List tells of it: %+v", now)
			}
			_, err := w.Engine.Dial(enginetest.Context(t), "behind")
			enginetest.WantKind(t, err, keyway.NotFound)
			if again {
				w.Create(t, w.Spec(t, "behind")) // its name is free
			}
			if err := w.Engine.Remove(enginetest.Context(t), "behind"); err != nil {
				t.Fatal(enginetest.Full(err))
			}
			if left := w.Left(t); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		}
	})
}

// TestOthersAreNotSeen checks that a container with a workspace's labels, from an image that was
// made of one, is no workspace.
func TestOthersAreNotSeen(t *testing.T) {
	d := onDaemon(t, localDocker)
	w := d.world(t)
	d.importImage(t, "keyway-test-labels:"+w.owner, "", "LABEL dev.keyway.owner="+w.owner, "LABEL dev.keyway.name=other", "LABEL dev.keyway.spec={}")
	name := "other-" + w.owner
	out, err := w.tool("create", "--name", name, "keyway-test-labels:"+w.owner, "/tool").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer func() { _ = w.tool("rm", "-f", name).Run() }()
	list, err := w.Engine.List(enginetest.Context(t))
	if err != nil || len(list) != 0 {
		t.Errorf("List: %v, %v", list, err)
	}
}

func TestGuestThatCannotStart(t *testing.T) {
	d := onDaemon(t, localDocker)
	broken := filepath.Join(workDir, "broken-guest-"+t.Name())
	if err := os.MkdirAll(broken, 0o755); err != nil {
		t.Fatal(err)
	}
	// The tool is a program that is no guest.
	if out, err := exec.Command("cp", programs.Tool, filepath.Join(broken, keyway.GuestProgram)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, opts := range map[string][]docker.Option{"Bind": nil, "Exec": {docker.ByExec()}} {
		t.Run(name, func(t *testing.T) {
			good := programs.Guest
			programs.Guest.Dir = broken
			defer func() { programs.Guest = good }()
			w := d.world(t, opts...)
			_, err := w.Engine.Create(enginetest.Context(t), w.Spec(t, "dead"), enginetest.Quiet)
			enginetest.WantKind(t, err, keyway.GuestFailed)
			if !strings.Contains(err.Error(), "tool: what is init?") || !strings.Contains(err.Error(), "exited with 1") {
				t.Errorf("its last words are missing: %s", enginetest.Full(err))
			}
			if left := w.Left(t); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}
