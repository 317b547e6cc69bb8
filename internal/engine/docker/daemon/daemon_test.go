package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

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
		"a host alone":    {map[string]string{"DOCKER_HOST": "tcp://gpu1"}, "tcp://gpu1:2375", ""},
		"no protocol":     {map[string]string{"DOCKER_HOST": " gpu1:99 "}, "tcp://gpu1:99", ""},
		"a port alone":    {map[string]string{"DOCKER_HOST": "tcp://:99"}, "tcp://127.0.0.1:99", ""},
		"with TLS":        {map[string]string{"DOCKER_HOST": "tcp://gpu1", "DOCKER_TLS_VERIFY": "1"}, "tcp://gpu1:2376", ""},
		"with DOCKER_TLS": {map[string]string{"DOCKER_HOST": "tcp://", "DOCKER_TLS": "1"}, "tcp://127.0.0.1:2376", ""},
		"IPv6":            {map[string]string{"DOCKER_HOST": "tcp://[::1]"}, "tcp://[::1]:2375", ""},
		"below a path":    {map[string]string{"DOCKER_HOST": "tcp://gpu1:1/docker"}, "tcp://gpu1:1/docker", ""},
		"a socket's kind": {map[string]string{"DOCKER_HOST": "unix://"}, "unix:///var/run/docker.sock", ""},
		"blanks":          {map[string]string{"DOCKER_HOST": " ", "DOCKER_CONFIG": "current"}, "unix:///lab.sock", ""},
		"ssh":             {map[string]string{"DOCKER_HOST": "ssh://ada@gpu1:22"}, "ssh://ada@gpu1:22", ""},
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

// sha returns the name that the docker command gives to a context's directory.
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

// TestAnAddressThatIsNone checks that the error names where the address comes from, with an example
// for that.
func TestAnAddressThatIsNone(t *testing.T) {
	for _, p := range []endpoint{
		{host: "/var/run/docker.sock", from: "DOCKER_HOST"}, {host: "unix", from: "DOCKER_HOST"}, {host: "nothing", from: "CONTAINER_HOST"}, {host: "tcp://%zz", from: "DOCKER_HOST"},
	} {
		_, err := connect(p, nil)
		if said := keyway.AsError(err); !keyway.Is(err, keyway.BadConfig) || !strings.Contains(said.Message, p.from+" names no daemon: ") || !strings.Contains(said.Help(), "export "+p.from+"=unix:///") {
			t.Errorf("%q: %v\n%s", p.host, err, said.Help())
		}
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
		for _, name := range []string{keyway.EngineDocker, keyway.EnginePodman} {
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

// frame returns one as a daemon sends it.
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
		if len(out) > len(in) || len(d.stderr.Bytes()) > maxStderr {
			t.Errorf("%d bytes in, %d and %d out", len(in), len(out), len(d.stderr.Bytes()))
		}
	})
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
