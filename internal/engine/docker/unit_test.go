package docker

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

// TestRefusal checks messages of daemons that the lab does not have: newer dockerds, crun and CDI.
func TestRefusal(t *testing.T) {
	e := &Engine{client: nobody(t), homes: engine.HomesIn("/root"), guest: engine.Guest{Dir: "/guest"}}
	spec := keyway.Spec{
		Name: "x", Image: "image", Process: keyway.Process{User: "u"},
		Resources: keyway.Resources{GPUs: keyway.GPUs{All: true}},
		Files:     keyway.Files{Workdir: "/work", Mounts: []keyway.Mount{{Source: "/data", Target: "/mnt/data"}}},
	}
	for said, kind := range map[string]keyway.Kind{
		`Conflict. The container name "/keyway-0-x" is already in use by container "abc". You have to remove (or rename) that container to be able to reuse that name.`: keyway.NameTaken,
		`could not select device driver "" with capabilities: [[gpu]]`:                                                                                                                       keyway.NoGPU,
		`failed to create task for container: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=9`:                                                                        keyway.NoGPU,
		`failed to discover GPU vendor from CDI: no known GPU vendor found`:                                                                                                                  keyway.NoGPU,
		`error running prestart hook #0: exit status 1, stdout: , stderr: Auto-detected mode as 'legacy' nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown`: keyway.NoGPU,
		`invalid mount config for type "bind": bind source path does not exist: /data`:                                                                                                       keyway.Usage,
		`crun: cannot stat ` + "`/data`" + `: No such file or directory: OCI runtime attempted to invoke a command that was not found`:                                                       keyway.Usage,
		`Mounts denied: The path /data is not shared from the host and is not known to Docker.`:                                                                                              keyway.Usage,
		`OCI runtime create failed: chdir to cwd ("/work") set in config.json failed: permission denied`:                                                                                     keyway.Usage,
		`unable to find user u: no matching entries in passwd file`:                                                                                                                          keyway.Usage,
		`mkdir /var/lib/docker/overlay2/x: no space left on device`:                                                                                                                          keyway.NoSpace,
		`something else`: keyway.Other,
		`bind source path does not exist: /data2`: keyway.Other,
	} {
		if err := e.refusal(context.Background(), spec, errors.New("Error response from daemon: "+said)); !keyway.Is(err, kind) {
			t.Errorf("%q becomes %v (%s), want %s", said, err, keyway.AsError(err).Kind, kind)
		}
	}
	if err := e.refusal(context.Background(), spec, nil); err != nil {
		t.Error(err)
	}
}

func TestEnvironmentWithGPUs(t *testing.T) {
	for want, s := range map[string]keyway.Spec{
		"NVIDIA_VISIBLE_DEVICES=void": {},
		"NVIDIA_VISIBLE_DEVICES=none": {Process: keyway.Process{Env: map[string]string{"NVIDIA_VISIBLE_DEVICES": "none"}}},
	} {
		if env := environment(s, gpuOrder{asked: s.GPUs}); !slices.Contains(env, want) {
			t.Errorf("the environment is %q, want %s", env, want)
		}
	}
	taken := keyway.Spec{Process: keyway.Process{Unset: []string{gpu.VisibleDevices, "A"}}}
	if env := environment(taken, gpuOrder{}); !slices.Contains(env, "A") || !slices.Contains(env, "NVIDIA_VISIBLE_DEVICES=void") {
		t.Errorf("without variables of the image the environment is %q", env)
	}
	// For all GPUs, the daemon itself sets the variable.
	all := keyway.Spec{Resources: keyway.Resources{GPUs: keyway.GPUs{All: true}}}
	if env := environment(all, gpuOrder{asked: all.GPUs}); slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, gpu.VisibleDevices) }) {
		t.Errorf("the environment is %q", env)
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("x", "7", `{"name":"x"}`, "/home/workspaces/x")
	f.Add("x", "7", `{`, "/etc")
	f.Fuzz(func(t *testing.T, name, owner, spec, home string) {
		e := &Engine{owner: "7"}
		m, err := e.parseLabels("", "/keyway-7-"+name, map[string]string{labelName: name, labelOwner: owner, labelSpec: spec, labelHome: home})
		if err == nil && (owner != "7" || string(m.spec.Name) != name || filepath.Base(string(m.home)) != name) {
			t.Errorf("taken for a workspace: %+v", m)
		}
	})
}

// TestLabelsOfBefore checks the labels of earlier versions.
func TestLabelsOfBefore(t *testing.T) {
	e := &Engine{client: nobody(t), homes: engine.HomesIn(t.TempDir()), owner: "1000"}
	for file, caps := range map[string]int{"label-2026-11-27.json": 0, "label-2026-11-29.json": 1} {
		sample, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		m, err := e.parseLabels("", "/keyway-1000-train", map[string]string{labelName: "train", labelOwner: "1000", labelSpec: string(sample), labelMode: modeBind})
		s := m.spec
		if err != nil || s.Name != "train" || len(s.GPUs.IDs) != 2 || s.ShmSize != 16<<30 || len(s.Mounts) != 2 || len(s.Env) != 2 || s.User != "1000:1000" ||
			s.Workdir != "/workspace" || !s.ReadOnly || len(s.Command) != 3 || !s.ForwardAgent || len(s.CapAdd) != caps || s.NewPrivileges != (caps > 0) {
			t.Errorf("%s: %+v, %v", file, s, err)
		}
		again, err := e.labels(s, modeBind, gpuOrder{})
		if err != nil {
			t.Fatal(err)
		}
		var was, is map[string]any
		if err := errors.Join(json.Unmarshal(sample, &was), json.Unmarshal([]byte(again[labelSpec]), &is)); err != nil || !reflect.DeepEqual(was, is) {
			t.Errorf("%s is written again as %s, %v", file, again[labelSpec], err)
		}
	}
}

// TestDiscardedLimits checks the limits that dockerd drops with a warning.
func TestDiscardedLimits(t *testing.T) {
	all := keyway.Resources{CPUs: 1, Memory: 1 << 30, PidsLimit: 10}
	for said, option := range map[string]string{
		"Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.":                                     "cpus",
		"Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.":      "memory",
		"Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.":        "pids-limit",
		"Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.": "",
		"The requested image's platform (linux/arm64) does not match the detected host platform (linux/amd64/v3)":         "",
		"Your kernel does not support OomKillDisable. OomKillDisable discarded.":                                          "",
	} {
		err := discarded(daemon.Identity{}, all, []string{"something else", said})
		if (err != nil) != (option != "") || err != nil && !strings.Contains(withNext(err), option) {
			t.Errorf("%s: %v", said, err)
		}
		if err := discarded(daemon.Identity{}, keyway.Resources{}, []string{said}); err != nil { // by default keyway limits processes itself
			t.Errorf("%s, which was not asked for: %v", said, err)
		}
	}
}

func withNext(err error) string { return err.Error() + "\n" + keyway.AsError(err).Help() }

// nobody returns a client of a Docker daemon that does not run.
func nobody(t *testing.T) *daemon.Client {
	t.Helper()
	c, err := daemon.New(daemon.Options{Host: "unix://" + filepath.Join(t.TempDir(), "docker.sock")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestMountsBelowReadOnlyOnes checks that a mount below a read-only mount needs an existing target.
// The error is the same if the runtime refuses it.
func TestMountsBelowReadOnlyOnes(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "there"), 0o755); err != nil {
		t.Fatal(err)
	}
	spec := func(readOnly bool, targets ...string) keyway.Spec {
		s := keyway.Spec{Name: "x", Image: "i", Access: keyway.Access{AuthorizedKeys: []string{"k"}}}
		s.Mounts = []keyway.Mount{{Source: dir, Target: "/a/", ReadOnly: readOnly}}
		for _, target := range targets {
			s.Mounts = append(s.Mounts, keyway.Mount{Kind: keyway.MountVolume, Source: "v", Target: target})
		}
		return s
	}
	elsewhere, nearest, memory := spec(true, "/a/none"), spec(true, "/a/there/none"), spec(true, "/a/none")
	elsewhere.Mounts[0].Source = filepath.Join(dir, "none") // on another machine, or nowhere
	nearest.Mounts[0].Target = "/a//////////"
	nearest.Mounts = append(nearest.Mounts, keyway.Mount{Source: dir, Target: "/a/there"})
	memory.Mounts[1] = keyway.Mount{Kind: keyway.MountTmpfs, Target: "/a/none"}
	for what, c := range map[string]struct {
		s  keyway.Spec
		ok bool
	}{
		"no source":     {elsewhere, true},
		"two above":     {nearest, true},
		"memory":        {memory, false},
		"there":         {spec(true, "/a/there"), true},
		"not there":     {spec(true, "/a/none/x"), false},
		"beside":        {spec(true, "/ab/none"), true},
		"to write":      {spec(false, "/a/none"), true},
		"below another": {spec(true, "/a/there", "/a/there/none"), true},
		"the root":      {spec(true, "/"), false},
	} {
		if err := check(daemon.Identity{}, true, c.s); (err == nil) != c.ok || err != nil && (keyway.AsError(err).Help() == "" || strings.HasPrefix(err.Error(), " ")) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := check(daemon.Identity{}, false, spec(true, "/a/none")); err != nil {
		t.Errorf("of a daemon elsewhere: %v", err)
	}
	s := spec(true, "/a/none")
	s.Mounts[1] = keyway.Mount{Source: "/data", Target: "/a/none"}
	for said, want := range map[string]string{
		`error mounting "/data" to rootfs at "/a/none": mkdir /x/merged/a/none: read-only file system: OCI runtime error`: "does not exist",
		`error mounting "/data" to rootfs at "/a/none": "/x/merged/a/none" cannot be mounted because it is inside /proc`:  "/data cannot be mounted at /a/none",
	} {
		if err := mountMissing(daemon.Identity{}, s, said, strings.ToLower(said)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", said, err)
		}
	}
}
