package docker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/moby/moby/api/types/container"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

func TestEndpoint(t *testing.T) {
	dir := t.TempDir()
	write := func(path, content string) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("current/config.json", `{"currentContext":"lab"}`)
	for name, meta := range map[string]string{
		"lab": `{"Name":"lab","Endpoints":{"docker":{"Host":"unix:///lab.sock"}}}`,
		"far": `{"Name":"far","Endpoints":{"docker":{"Host":"ssh://gpu1"}}}`,
		"bad": `{`, "empty": `{}`,
	} {
		write("current/contexts/meta/"+sha(name)+"/meta.json", meta)
	}
	write("broken/config.json", `{"currentContext":`)
	write("run/docker.sock", "")
	for name, c := range map[string]struct {
		env  map[string]string
		want string
		kind keyway.Kind
	}{
		"DOCKER_HOST":     {map[string]string{"DOCKER_HOST": "unix:///h.sock", "DOCKER_CONTEXT": "lab", "DOCKER_CONFIG": "current"}, "unix:///h.sock", ""},
		"DOCKER_CONTEXT":  {map[string]string{"DOCKER_CONTEXT": "far", "DOCKER_CONFIG": "current"}, "ssh://gpu1", ""},
		"current context": {map[string]string{"DOCKER_CONFIG": "current"}, "unix:///lab.sock", ""},
		"default context": {map[string]string{"DOCKER_CONTEXT": "default", "DOCKER_CONFIG": "current"}, "unix:///var/run/docker.sock", ""},
		"nothing":         {map[string]string{"DOCKER_CONFIG": "none"}, "unix:///var/run/docker.sock", ""},
		"no such context": {map[string]string{"DOCKER_CONTEXT": "nope", "DOCKER_CONFIG": "current"}, "", keyway.BadConfig},
		"bad context":     {map[string]string{"DOCKER_CONTEXT": "bad", "DOCKER_CONFIG": "current"}, "", keyway.BadConfig},
		"empty context":   {map[string]string{"DOCKER_CONTEXT": "empty", "DOCKER_CONFIG": "current"}, "", keyway.BadConfig},
		"bad config":      {map[string]string{"DOCKER_CONFIG": "broken"}, "", keyway.BadConfig},
	} {
		t.Run(name, func(t *testing.T) {
			s := surroundings{home: dir, uid: 1000, exists: func(p string) bool { return p == "/var/run/docker.sock" }, getenv: func(key string) string {
				if v := c.env[key]; key != "DOCKER_CONFIG" || v == "" {
					return v
				}
				return filepath.Join(dir, c.env[key])
			}}
			got, err := s.docker()
			if c.kind != "" {
				if !keyway.Is(err, c.kind) || keyway.AsError(err).Help() == "" {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil || got.host != c.want {
				t.Errorf("it is at %q, %v; want %q", got.host, err, c.want)
			}
		})
	}
	rootless := surroundings{home: dir, uid: 1000, exists: func(p string) bool { return p == filepath.Join(dir, "run/docker.sock") }, getenv: func(key string) string {
		return map[string]string{"XDG_RUNTIME_DIR": filepath.Join(dir, "run")}[key]
	}}
	if got, err := rootless.docker(); err != nil || got.host != "unix://"+filepath.Join(dir, "run/docker.sock") {
		t.Errorf("a rootless daemon is looked for at %q, %v", got.host, err)
	}
}

// sha is how the docker command names a context's directory.
func sha(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

func TestPodmanEndpoint(t *testing.T) {
	none := func(string) bool { return false }
	system := func(p string) bool { return p == "/run/podman/podman.sock" }
	for name, c := range map[string]struct {
		uid    int
		env    map[string]string
		exists func(string) bool
		want   string
	}{
		"told":         {1000, map[string]string{"CONTAINER_HOST": "unix:///p"}, none, "unix:///p"},
		"root":         {0, nil, none, "unix:///run/podman/podman.sock"},
		"user":         {1000, nil, none, "unix:///run/user/1000/podman/podman.sock"},
		"user's dir":   {1000, map[string]string{"XDG_RUNTIME_DIR": "/x"}, none, "unix:///x/podman/podman.sock"},
		"system's own": {1000, nil, system, "unix:///run/podman/podman.sock"},
	} {
		s := surroundings{uid: c.uid, exists: c.exists, getenv: func(key string) string { return c.env[key] }}
		if got := s.podman(); got.host != c.want {
			t.Errorf("%s: it is at %q, want %q", name, got.host, c.want)
		}
	}
}

func TestSSHEndpointIsRefused(t *testing.T) {
	_, err := connect(endpoint{host: "ssh://gpu1", from: "DOCKER_HOST"}, nil)
	if !keyway.Is(err, keyway.BadConfig) || !strings.Contains(keyway.AsError(err).Help(), "go-there gpu1") {
		t.Errorf("it says: %v", err)
	}
}

func TestRefused(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)} }
	for _, c := range map[string]struct {
		err       error
		installed bool
		kind      keyway.Kind
	}{
		"absent":        {dial(syscall.ENOENT), false, keyway.EngineAbsent},
		"no socket":     {dial(syscall.ENOENT), true, keyway.EngineDown},
		"nobody":        {dial(syscall.ECONNREFUSED), true, keyway.EngineDown},
		"not permitted": {dial(syscall.EACCES), true, keyway.EngineForbidden},
	} {
		for _, name := range []string{nameDocker, namePodman} {
			if err := refused(name, "/x.sock", c.err, c.installed); !keyway.Is(err, c.kind) || keyway.AsError(err).Help() == "" {
				t.Errorf("%s, %s: %v", name, c.kind, err)
			}
		}
	}
}

func TestRemoteDaemon(t *testing.T) {
	local := endpoint{host: "unix:///x"}
	for name, c := range map[string]struct {
		at           endpoint
		system       string
		security     []string
		remoteDaemon bool
	}{
		"local":    {local, "Debian GNU/Linux 12", []string{"name=seccomp,profile=default", "name=cgroupns"}, false},
		"rootless": {local, "Debian", []string{"name=rootless"}, false},
		"tcp":      {endpoint{host: "tcp://x:2376"}, "Debian", nil, true},
		"desktop":  {local, "Docker Desktop", nil, true},
		"selinux":  {local, "Fedora", []string{"name=seccomp,profile=builtin", "name=selinux"}, true},
		"userns":   {local, "Debian", []string{"name=userns"}, true},
	} {
		if got := remoteDaemon(c.at, c.system, c.security); (got != "") != c.remoteDaemon {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestExitReason(t *testing.T) {
	for want, c := range map[string]struct {
		state   container.State
		command bool
	}{
		"was never started":                                     {container.State{Status: container.StateCreated}, false},
		"could not be started: no":                              {container.State{Status: container.StateCreated, Error: "no"}, false},
		"exited with 137: it ran out of memory":                 {container.State{OOMKilled: true, ExitCode: 137}, false},
		"exited with 137: killed from outside or out of memory": {container.State{ExitCode: 137}, true},
		"was stopped":                                           {container.State{ExitCode: 0}, false},
		"its command exited with 0":                             {container.State{ExitCode: 0}, true},
		"its command exited with 3":                             {container.State{ExitCode: 3}, true},
		"exited with 1":                                         {container.State{ExitCode: 1}, false},
	} {
		if got := exitReason(&c.state, c.command); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestRefusal has sentences of daemons that are not here: of newer dockerds,
// crun and CDI.
func TestRefusal(t *testing.T) {
	e := &Engine{name: nameDocker, homes: engine.HomesIn("/root"), guest: engine.Guest{Dir: "/guest"}}
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

func TestPullFailed(t *testing.T) {
	for said, want := range map[string]string{
		"manifest for pytorch/pytorch:9 not found: manifest unknown: manifest unknown":                                           "there is no image",
		"pull access denied for nothing, repository does not exist or may require 'docker login': denied":                        "does not exist, or you may not have it",
		"Get https://registry-1.docker.io/v2/: dial tcp: lookup registry-1.docker.io: no such host":                              "cannot be reached",
		"net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)":               "cannot be reached",
		"toomanyrequests: You have reached your pull rate limit":                                                                 "wants no more pulls",
		"no matching manifest for linux/arm64/v8 in the manifest list entries":                                                   "does not run on this machine",
		"write /var/lib/docker/tmp/x: no space left on device":                                                                   "no space left",
		"initializing source docker://x:1: pinging container registry registry.invalid: Get \"https://registry.invalid/v2/\": x": "cannot be reached",
		"what?": "cannot be pulled",
	} {
		err := pullFailed(daemon{arch: "arm64"}, "image", said)
		if !strings.Contains(err.Error(), want) || keyway.AsError(err).Help() == "" {
			t.Errorf("%q becomes %v", said, err)
		}
	}
}

func TestRegistryAuth(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("me:pass:word"))
	c := config{Auths: map[string]storedAuth{"https://registry.example/v2/": {Auth: auth}, indexServer: {IdentityToken: "token"}}}
	if got, ok := c.stored("registry.example"); !ok || got.config("registry.example").Username != "me" || got.config("registry.example").Password != "pass:word" {
		t.Errorf("stored: %+v, %v", got, ok)
	}
	if got, ok := c.stored(indexServer); !ok || got.config(indexServer).IdentityToken != "token" {
		t.Errorf("stored: %+v, %v", got, ok)
	}
	if _, ok := c.stored("other.io"); ok {
		t.Error("another registry gets a password")
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	helper := "#!/bin/sh\nread server; echo \"{\\\"Username\\\":\\\"u\\\",\\\"Secret\\\":\\\"$server\\\"}\"\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-test"), []byte(helper), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, ok := askHelper(context.Background(), "test", "registry.example"); !ok || got.Username != "u" || got.Password != "registry.example" {
		t.Errorf("the helper's: %+v, %v", got, ok)
	}
	if _, ok := askHelper(context.Background(), "../test", "registry.example"); ok {
		t.Error("a helper outside of PATH was run")
	}
	if _, ok := askHelper(context.Background(), "none", "registry.example"); ok {
		t.Error("a helper that is not there answered")
	}
}

func TestEnvironmentWithGPUs(t *testing.T) {
	for want, s := range map[string]keyway.Spec{
		"NVIDIA_VISIBLE_DEVICES=void": {},
		"NVIDIA_VISIBLE_DEVICES=3":    {Process: keyway.Process{Env: map[string]string{"NVIDIA_VISIBLE_DEVICES": "3"}}},
	} {
		if env := environment(s, gpuOrder{asked: s.GPUs}); !slices.Contains(env, want) {
			t.Errorf("the environment is %q, want %s", env, want)
		}
	}
	// The daemon says it itself then.
	all := keyway.Spec{Resources: keyway.Resources{GPUs: keyway.GPUs{All: true}}}
	if env := environment(all, gpuOrder{asked: all.GPUs}); slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, visibleDevices) }) {
		t.Errorf("the environment is %q", env)
	}
}

// frame is one as a daemon sends it.
func frame(stream byte, data string) []byte {
	b := make([]byte, 8, 8+len(data))
	b[0] = stream
	binary.BigEndian.PutUint32(b[4:], uint32(len(data)))
	return append(b, data...)
}

func TestDemux(t *testing.T) {
	in := slices.Concat(frame(streamStdout, "one "), frame(streamStderr, "warning"), frame(streamStdout, ""), frame(streamStdout, "two"))
	for name, r := range map[string]io.Reader{"whole": bytes.NewReader(in), "bytewise": iotest.OneByteReader(bytes.NewReader(in))} {
		got, err := io.ReadAll(newDemux(r))
		if string(got) != "one two" || err == nil || !strings.Contains(err.Error(), "warning") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := io.ReadAll(newDemux(bytes.NewReader(in[:10]))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a frame that breaks off: %v", err)
	}
	if _, err := io.ReadAll(newDemux(bytes.NewReader(frame(9, "x")))); err == nil {
		t.Error("an unknown stream is read")
	}
}

func FuzzDemux(f *testing.F) {
	f.Add(slices.Concat(frame(streamStdout, "one"), frame(streamStderr, "two")))
	f.Add(frame(streamSystem, "error"))
	f.Add([]byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 'x'})
	f.Fuzz(func(t *testing.T, in []byte) {
		d := newDemux(bytes.NewReader(in))
		out, _ := io.ReadAll(d)
		if len(out) > len(in) || d.stderr.Len() > maxStderr {
			t.Errorf("%d bytes in, %d and %d out", len(in), len(out), d.stderr.Len())
		}
	})
}

func FuzzFollow(f *testing.F) {
	f.Add([]byte(`{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"a"}` + "\r\n" + `{"errorDetail":{"message":"no"}}`))
	f.Add([]byte(`{"status":"Downloading","progressDetail":{"current":-9,"total":-1},"id":"a"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		_ = follow(bytes.NewReader(in), "x", func(p keyway.Progress) {
			if p.Message != "x" {
				t.Errorf("reported %+v", p)
			}
		})
	})
}

func TestFollow(t *testing.T) {
	long := `{"status":"` + strings.Repeat("x", maxPullLine) + `"}`
	if err := follow(strings.NewReader(long), "x", func(keyway.Progress) {}); err == nil {
		t.Error("a line without end is read")
	}
	var last keyway.Progress
	news := `{"status":"Pulling fs layer","id":"a"}
{"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"a"}
{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}`
	err := follow(strings.NewReader(news), "x", func(p keyway.Progress) { last = p })
	if err == nil || daemonSays(err) != "no space left on device" || last.Done != 5 || last.Total != 10 {
		t.Errorf("%v, %+v", err, last)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"auths":{"registry.example":{"auth":"bWU6cA=="}},"credsStore":"x","currentContext":"lab"}`))
	f.Add([]byte(`{"auths":{"registry.example":{"auth":"*"}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var c config
		if decodeJSON(bytes.NewReader(in), maxConfig, &c) == nil {
			if a, ok := c.stored("registry.example"); ok {
				encodeAuth(a.config("registry.example"))
			}
		}
		var meta contextMeta
		_ = decodeJSON(bytes.NewReader(in), maxMeta, &meta)
	})
}

func FuzzLabels(f *testing.F) {
	f.Add("x", "7", `{"name":"x"}`, "/home/workspaces/x")
	f.Add("x", "7", `{`, "/etc")
	f.Fuzz(func(t *testing.T, name, owner, spec, home string) {
		e := &Engine{owner: "7"}
		m, err := e.parseLabels("/keyway-7-"+name, map[string]string{labelName: name, labelOwner: owner, labelSpec: spec, labelHome: home})
		if err == nil && (owner != "7" || string(m.spec.Name) != name || filepath.Base(string(m.home)) != name) {
			t.Errorf("taken for a workspace: %+v", m)
		}
	})
}

// TestLabelsOfBefore reads labels that builds of those days wrote.
func TestLabelsOfBefore(t *testing.T) {
	e := &Engine{homes: engine.HomesIn(t.TempDir()), owner: "1000"}
	for file, caps := range map[string]int{"label-2026-11-27.json": 0, "label-2026-11-29.json": 1} {
		sample, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		m, err := e.parseLabels("/keyway-1000-train", map[string]string{labelName: "train", labelOwner: "1000", labelSpec: string(sample), labelMode: modeBind})
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

// TestDiscardedLimits knows the limits that dockerd drops with a warning.
func TestDiscardedLimits(t *testing.T) {
	all := keyway.Resources{CPUs: 1, Memory: 1 << 30, PidsLimit: 10}
	for said, flag := range map[string]string{
		"Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.":                                     "--cpus",
		"Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.":      "--memory",
		"Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.":        "--pids-limit",
		"Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.": "",
		"The requested image's platform (linux/arm64) does not match the detected host platform (linux/amd64/v3)":         "",
		"Your kernel does not support OomKillDisable. OomKillDisable discarded.":                                          "",
	} {
		err := discarded(daemon{}, all, []string{"something else", said})
		if (err != nil) != (flag != "") || err != nil && !strings.Contains(withNext(err), strings.TrimLeft(flag, "-")) {
			t.Errorf("%s: %v", said, err)
		}
		if err := discarded(daemon{}, keyway.Resources{}, []string{said}); err != nil { // by default keyway limits processes itself
			t.Errorf("%s, which was not asked for: %v", said, err)
		}
	}
}

func withNext(err error) string { return err.Error() + "\n" + keyway.AsError(err).Help() }
