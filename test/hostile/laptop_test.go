//go:build linux

package hostile

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
	"keyway/internal/stream"
	"keyway/internal/unixsock"
	"keyway/test/lab/run"
)

// patience bounds the wait for events that must come.
const patience = time.Minute

// laptop is a home directory with a key in an agent, an ssh on PATH behind which
// every place is a double, and keyway.
type laptop struct {
	t      *testing.T
	home   string
	env    []string
	within []string // the words before a command that run it
}

// gpu1 is the place that lies, unless a test has more.
const gpu1 = "gpu1"

func newLaptop(t *testing.T) *laptop {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "kwh") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	l := &laptop{t: t, home: home}
	t.Cleanup(func() { os.RemoveAll(home) })
	for _, d := range []string{"bin", "run", "state", "config", ".ssh", "places"} {
		if err := os.Mkdir(l.path(d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	openssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l.write(".ssh/config", "Host bastion\n  HostName 10.0.0.1\nHost gpu1\n  HostName 10.0.7.31\n  ProxyJump bastion\n")
	l.write("bin/ssh", fmt.Sprintf("#!/bin/bash\ncase \" $* \" in *\" -G \"*|*\" -V \"*|*\" -Q \"*) exec %s -F %s \"$@\";; esac\n"+
		"exec env %s=%s/${@: -2:1} %s\n", openssh, l.path(".ssh/config"), envPlace, l.path("places"), self))
	if err := os.Chmod(l.path("bin/ssh"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "SSH_") || strings.HasPrefix(kv, "XDG_")
	}), "HOME="+home, "XDG_RUNTIME_DIR="+l.path("run"), "XDG_STATE_HOME="+l.path("state"), "XDG_CONFIG_HOME="+l.path("config"),
		"PATH="+l.path("bin")+":"+os.Getenv("PATH"), "SSH_AUTH_SOCK="+l.path("agent"))
	l.startAgent()
	t.Cleanup(func() { l.keyway("link", "stop") })
	return l
}

func (l *laptop) path(name string) string { return filepath.Join(l.home, name) }

func (l *laptop) write(name, content string) {
	l.t.Helper()
	if err := os.MkdirAll(filepath.Dir(l.path(name)), 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(l.path(name), []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// says sets the answer of a place from now on.
func (l *laptop) says(place, file, body string) {
	l.t.Helper()
	l.write("places/"+place+"/"+file, body)
}

// startAgent starts OpenSSH's agent with the key that ssh uses by default.
func (l *laptop) startAgent() {
	l.t.Helper()
	agent := exec.Command("ssh-agent", "-D", "-a", l.path("agent"))
	if err := agent.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { agent.Process.Kill(); agent.Wait() })
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(l.path("agent")); err == nil {
			break
		}
	}
	l.newKey("id_ed25519")
}

// newKey makes a key in ~/.ssh, puts it into the agent, and returns the public one.
func (l *laptop) newKey(name string) string {
	l.t.Helper()
	path := l.path(".ssh/" + name)
	for _, argv := range [][]string{
		{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name + "@laptop", "-f", path}, {"ssh-add", "-q", path},
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = l.env
		if out, err := cmd.CombinedOutput(); err != nil {
			l.t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.TrimSpace(string(public))
}

// result is the result of a command.
type result struct {
	line, stdout, stderr string
	code                 int
}

func (r result) String() string {
	return fmt.Sprintf("keyway %s: %d\n%s%s", r.line, r.code, run.Clip(r.stdout), run.Clip(r.stderr))
}

// keyway runs a command, and fails if a terminal would obey a part of its output.
func (l *laptop) keyway(args ...string) result {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	argv := slices.Concat(l.within, []string{program}, args)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = l.env, &stdout, &stderr
	cmd.WaitDelay = patience
	begun := time.Now()
	err := cmd.Run()
	r := result{line: strings.Join(args, " "), stdout: stdout.String(), stderr: stderr.String()}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.code = exit.ExitCode()
	} else if err != nil {
		l.t.Fatalf("keyway %s: %v", r.line, err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		l.t.Logf("%s\ntook %v", r, took)
	}
	if ctx.Err() != nil {
		l.t.Errorf("%s\ndid not end within %v", r, patience)
	}
	if what := obeyed(strings.ReplaceAll(r.stdout+r.stderr, "\r\n", "\n")); what != "" { // ssh ends its lines with it
		l.t.Errorf("%s\nprints %s", r, what)
	}
	return r
}

// obeyed returns the first character in said that a terminal obeys or hides.
func obeyed(said string) string {
	if !utf8.ValidString(said) {
		return "bytes that are no UTF-8"
	}
	for _, r := range said {
		if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
			return fmt.Sprintf("%U", r)
		}
	}
	return ""
}

// files returns the files on this laptop that keyway and ssh rely on, by name.
func (l *laptop) files() map[string]string {
	l.t.Helper()
	all := map[string]string{}
	for _, name := range []string{
		"state/keyway/ssh_config", "state/keyway/known_hosts", "state/keyway/known_hosts_unproved", "state/keyway/hosts.json",
		".ssh/config", ".ssh/known_hosts",
	} {
		data, err := os.ReadFile(l.path(name))
		if err != nil && !os.IsNotExist(err) {
			l.t.Fatal(err)
		}
		all[name] = string(data)
	}
	return all
}

// unchanged fails if a file has changed.
func (l *laptop) unchanged(before map[string]string, after fmt.Stringer) {
	l.t.Helper()
	for name, now := range l.files() {
		if now != before[name] {
			l.t.Errorf("%s\nhas changed %s:\n%s\nit was:\n%s", after, name, now, before[name])
		}
	}
}

// entries returns the workspaces that the laptop knows, by name.
func (l *laptop) entries() map[keyway.Name]sshconfig.Entry {
	l.t.Helper()
	list, err := sshconfig.Open(l.path("state/keyway"), sshconfig.Client{}).List()
	if err != nil {
		l.t.Fatal(err)
	}
	all := map[keyway.Name]sshconfig.Entry{}
	for _, e := range list {
		all[e.Name] = e
	}
	return all
}

// guest is a server of streams with a host key, as a guest is.
type guest struct {
	socket string
	key    ed25519.PrivateKey
}

func (l *laptop) startGuest() *guest {
	l.t.Helper()
	return l.startGuestThat(func(c net.Conn) { c.Close() }) // it waits for its last bytes
}

// startGuestThat returns a guest that calls each for every stream.
func (l *laptop) startGuestThat(each func(net.Conn)) *guest {
	l.t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	server, err := stream.NewServer(stream.ServerConfig{HostKey: key})
	if err != nil {
		l.t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go each(c) // ends with the server
		}
	})
	l.t.Cleanup(func() { server.Close(); accepting.Wait() })
	return &guest{l.listen(func(c net.Conn) { server.Handle(context.Background(), c) }), key}
}

// startSSHD returns the sshd of another host, which proves its key to every client by SSH.
func (l *laptop) startSSHD() *guest {
	l.t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		l.t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	return &guest{l.listen(func(c net.Conn) {
		defer c.Close()
		if conn, _, _, err := ssh.NewServerConn(c, config); err == nil {
			conn.Close()
		}
	}), key}
}

// listen serves a socket until the test ends.
func (l *laptop) listen(each func(net.Conn)) string {
	l.t.Helper()
	socket := filepath.Join(l.t.TempDir(), "s")
	listener, err := unixsock.Listen(socket, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go each(c) // ends with the connection, at the latest with the double
		}
	})
	l.t.Cleanup(func() { listener.Close(); all.Wait() })
	return socket
}

// public returns the key in the form in which a place gives it.
func (g *guest) public() string {
	key, err := ssh.NewPublicKey(g.key.Public())
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// workspace returns a workspace as an honest place describes it.
func workspace(name string, g *guest) keyway.Workspace {
	return keyway.Workspace{
		Name: keyway.Name(name), Engine: "docker", Image: "debian:12", State: keyway.Running, Created: time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC),
		Guest: keyway.GuestInfo{HostKey: g.public(), User: "root", Home: "/root", Shell: "/bin/sh", Version: "devel", PID: 7},
	}
}

func encode(v any) string {
	var b strings.Builder
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		panic(err)
	}
	return b.String()
}

func listing(all ...keyway.Workspace) string { return encode(api.Listing{Workspaces: all}) }

func created(w keyway.Workspace) string { return encode(api.Event{Workspace: &w}) }

// up makes an honest workspace at gpu1.
func (l *laptop) up(name string, g *guest) {
	l.t.Helper()
	l.says(gpu1, fileGuest, g.socket)
	l.says(gpu1, fileCreate, created(workspace(name, g)))
	if r := l.keyway("up", "--on", gpu1, "--engine", "docker", "--name", name); r.code != 0 {
		l.t.Fatal(r)
	}
}
