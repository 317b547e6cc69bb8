package main

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// faulty is a laptop in a mount namespace of its own for each command, whose ~/.ssh leads
// to real sshds, each with a fault.
type faulty struct {
	t    *testing.T
	dir  string // the home directory in it
	home string // the mount point of home
	env  []string

	prepare string // shell commands that prepare this laptop; it then has a network of its own
}

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "kw") // short, for the sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &faulty{t: t, dir: dir, home: me.HomeDir}
	f.env = append(os.Environ(), envMain+"=1", "HOME="+me.HomeDir, "XDG_RUNTIME_DIR="+f.dir, "XDG_STATE_HOME=", "XDG_CONFIG_HOME=", "SSH_AUTH_SOCK=", "SSH_ASKPASS=", "SUDO_USER=", "GORACE=atexit_sleep_ms=0")
	for name, passphrase := range map[string]string{"id": "", "host": "", "other": "", "shut": "secret"} {
		f.do("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", f.ssh(name))
	}
	write(t, f.ssh("open"), f.read(f.ssh("id")), 0o644)
	write(t, filepath.Join(f.dir, "files"), "hosts: files\n", 0o644)
	write(t, filepath.Join(f.dir, "dns"), "hosts: dns\n", 0o644)
	write(t, filepath.Join(f.dir, "resolv"), "nameserver 127.77.53.1\noptions timeout:1 attempts:1\n", 0o644)
	return f
}

func (f *faulty) ssh(name string) string {
	path := filepath.Join(f.dir, ".ssh", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func (f *faulty) read(path string) string {
	f.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(data)
}

func (f *faulty) do(name string, args ...string) {
	f.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		f.t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// sshd starts one with more lines of configuration and returns its port.
func (f *faulty) sshd(name, serves string) string {
	f.t.Helper()
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		f.t.Fatal(err)
	}
	port := unusedPort(f.t)
	conf := filepath.Join(f.dir, "sshd_"+name)
	write(f.t, conf, fmt.Sprintf("ListenAddress 127.0.0.1:%s\nHostKey %s\nAuthorizedKeysFile %s.pub %s.pub\nStrictModes no\nPermitRootLogin yes\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n%s\n",
		port, f.ssh("host"), f.ssh("id"), f.ssh("shut"), serves), 0o600)
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-f", conf, "-E", conf+".log")
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			conn.Close()
			return port
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%s does not listen: %s", name, f.read(conf+".log"))
		}
	}
}

// unusedPort returns a port that the system assigns to no socket by itself.
func unusedPort(t *testing.T) string {
	t.Helper()
	for {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
}

// run executes keyway without a terminal. names is the source of host names, as in
// nsswitch.conf(5).
func (f *faulty) run(names string, env []string, args ...string) (stderr string, code int) {
	f.t.Helper()
	self, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	return f.program(names, env, append([]string{self}, args...)...)
}

// program is run for any program.
func (f *faulty) program(names string, env []string, args ...string) (stderr string, code int) {
	f.t.Helper()
	const mounts = `for m in "$0:$1" "$0/$2:/etc/nsswitch.conf" "$0/resolv:/etc/resolv.conf"; do mount --bind "${m%%:*}" "${m#*:}" || exit 99; done; shift 2; eval "$PREPARE" || exit 99; exec "$@"`
	flags := []string{"-m", "--propagation", "private", "sh", "-c", mounts, f.dir, f.home, names}
	if f.prepare != "" {
		flags = append([]string{"-n"}, flags...)
	}
	cmd := exec.Command("unshare", slices.Concat(flags, args)...)
	var said bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stderr = append(slices.Concat(f.env, env), "PREPARE="+f.prepare), "/", &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	_ = cmd.Run()
	return said.String(), cmd.ProcessState.ExitCode()
}

// TestErrorsNameTheHopAndTheCause checks each fault that can keep a user from entering a workspace:
// the sentence, the exit code and the advice. No line of OpenSSH's may follow.
func TestErrorsNameTheHopAndTheCause(t *testing.T) {
	f := newFaulty(t)
	t.Setenv("XDG_RUNTIME_DIR", f.dir)
	endAgent(t) // that unlock starts
	good := f.sshd("good", "")
	hosts := map[string]string{
		"bastion":  "Port " + good,
		"closed":   "Port " + f.sshd("closed", "AllowTcpForwarding no"),
		"stranger": "Port " + f.sshd("stranger", "Match all\nAuthorizedKeysFile none"),
		"talks":    "Port " + f.sshd("talks", "ForceCommand echo use the web portal; exit 1"),
		"changed":  "Port " + good + "\nHostKeyAlias changed",
		"unknown":  "Port " + good + "\nHostKeyAlias unknown",
		"nobody":   "Port " + unusedPort(t),
		"mistyped": "ProxyJump badjump",
		"noway":    "ProxyJump closed\nPort 22",
		"silent":   "ProxyJump bastion\nPort " + unusedPort(t),
		"behind":   "ProxyJump stranger",
		"named":    "HostName gpu.example.org",
		"needskey": "Port " + good + "\nIdentityFile ~/.ssh/shut\nIdentitiesOnly yes",
	}
	var config, known strings.Builder
	for name, lines := range hosts {
		fmt.Fprintf(&config, "Host %s\n%s\nHostName 127.0.0.1\n", name, lines)
	}
	config.WriteString("Host * !needskey\nIdentityFile ~/.ssh/id\nHost *\nStrictHostKeyChecking yes\nUser root\n")
	for line := range strings.Lines(config.String()) {
		if port, is := strings.CutPrefix(strings.TrimSpace(line), "Port "); is {
			fmt.Fprintf(&known, "[127.0.0.1]:%s %s", port, f.read(f.ssh("host.pub")))
		}
	}
	fmt.Fprintf(&known, "changed %s", f.read(f.ssh("other.pub")))
	write(t, f.ssh("config"), config.String(), 0o600)
	write(t, f.ssh("known_hosts"), known.String(), 0o600)
	defer f.run("files", nil, "link", "stop")

	at := func(place string) []string { return []string{"adopt", "--on", place} }
	const nobody = 65534
	if err := cmp.Or(os.Mkdir(filepath.Join(f.dir, "nobodys"), 0o755), os.Chown(filepath.Join(f.dir, "nobodys"), nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	names := "files"
	for _, c := range []struct {
		args  []string
		names string // the source of host names
		env   []string
		code  int
		says  string // the first line
		next  string
	}{
		{at("mistyped"), "files", nil, 10, "there is no host badjump, through which the route to mistyped leads: ", "→ set its name right in the ProxyJump line of ~/.ssh/config"},
		{at("no-such-host"), "files", nil, 10, "there is no host no-such-host: ", "→ add it to ~/.ssh/config (Host no-such-host)"},
		{at("mistyped"), "dns", nil, 10, "there is no host badjump, through which the route to mistyped leads: your ~/.ssh/config does not have it, and its name cannot be looked up now (no network, or the VPN is off?)", "→ set its name right"},
		{at("named"), "dns", nil, 11, "the name named cannot be looked up now: no network, or the VPN is off?", "→ when the network is there: ssh -v named true"},
		{at("nobody"), "files", nil, 11, "nobody cannot be reached: Connection refused", "→ try by hand: ssh -v nobody true"},
		{at("noway"), "files", nil, 11, "closed lets nobody through to noway: it forbids forwarding", "→ ask the administrator of closed for AllowTcpForwarding yes in its sshd_config"},
		{at("silent"), "files", nil, 11, "bastion answers, but does not reach silent; bastion says: “Connection refused”", "→ is silent up, and is its name the one that bastion knows?"},
		{at("stranger"), "files", nil, 14, "stranger does not accept your key (it takes: publickey)", "→ try by hand: ssh -v stranger true"},
		{at("behind"), "files", nil, 14, "stranger, on the route to behind, does not accept your key (it takes: publickey)", "→ try by hand: ssh -v stranger true"},
		{at("talks"), "files", nil, 11, "talks let you in, but runs no command; talks says: “use the web portal”", "→ try by hand: ssh talks exec sh -c true"},
		{at("changed"), "files", nil, 12, "the host key of changed is not the one it had: it shows SHA256:", "→ ssh-keygen -R changed -f "},
		{at("unknown"), "files", nil, 13, "unknown is not known yet, and its key was not accepted", "→ compare its fingerprint with what its administrator publishes, once: ssh unknown true"},
		{at("needskey"), "files", nil, 15, "the agent is locked or does not hold a key that is needed, and there is no terminal to type its passphrase at: “Enter passphrase for key ", "→ keyway unlock"},
		{[]string{"unlock", f.home + "/.ssh/id.pub"}, "files", nil, 15, "~/.ssh/id.pub is the public half of a key, which has nothing to unlock", "→ keyway unlock "},
		{[]string{"unlock", f.home + "/.ssh/open"}, "files", nil, 15, "~/.ssh/open is open to other users of this machine (mode 0644), and ssh ignores such a key", "→ close it: chmod 600 "},
		{[]string{"unlock", f.home + "/.ssh/shut"}, "files", nil, 41, "not unlocked: there is no terminal to type the passphrase at", "→ run keyway unlock in a terminal"},
		{[]string{"up", "--name", "a", "--engine", "host"}, "files", []string{"SUDO_USER=nobody", "HOME=" + f.home + "/nobodys"}, 2, "sudo has keyway run as root in the home directory of nobody", "→ type it without sudo"},
	} {
		if c.names != names { // the link resolves host names
			f.run(names, nil, "link", "stop")
			names = c.names
		}
		said, code := f.run(c.names, c.env, c.args...)
		lines := strings.Split(strings.TrimSpace(said), "\n")
		for len(lines) > 1 && !strings.HasPrefix(lines[0], "keyway: ") && !strings.HasPrefix(lines[0], "  ") && strings.Contains(lines[0], "keyway") {
			lines = lines[1:] // news of the agent that was started
		}
		first := lines[0]
		if i := strings.Index(said, "keyway: "); i >= 0 {
			first, _, _ = strings.Cut(said[i:], "\n")
		}
		if code != c.code || !strings.Contains(strings.ReplaceAll(first, f.home+"/.ssh", "~/.ssh"), "keyway: "+c.says) || !strings.Contains(said, c.next) {
			t.Errorf("%q, %d, want %d, %q and %q:\n%s", c.args, code, c.code, c.says, c.next, said)
		}
		_, behind, _ := strings.Cut(said, "keyway: ")
		for i, line := range strings.Split(strings.TrimSpace(behind), "\n") {
			if i > 0 && !strings.HasPrefix(line, "  → ") && !strings.HasPrefix(line, "  | ") {
				t.Errorf("%q: behind the sentence is %q", c.args, line)
			}
		}
	}
}

// TestAnotherDockerIsRefused checks that a command uses the Docker on this machine that its
// environment names, or fails. Only the list of existing workspaces does without it.
func TestAnotherDockerIsRefused(t *testing.T) {
	lyingPlace(t)
	t.Setenv("DOCKER_HOST", "unix:///nowhere/a.sock")
	if said, code := program(t, nil, "ls", "--on", "local"); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	t.Setenv("DOCKER_HOST", "unix:///nowhere/b.sock")
	for _, line := range []string{"up --engine docker --image debian:12 --name b", "up --image debian:12 --name b", "adopt other --name b", "adopt",
		"check --image debian:12", "image copy local gpu1 debian:12", "bake --on local --image debian:12 --tag b"} {
		said, code := program(t, nil, strings.Fields(line)...)
		if code != keyway.ExitCode(keyway.Errorf(keyway.BadConfig, "")) || !strings.Contains(said, "/nowhere/a.sock") || !strings.Contains(said, "keyway link stop") {
			t.Errorf("%s: %d: %s", line, code, said)
		}
	}
	if said, code := program(t, nil, "ls", "--on", "local"); code != 0 || !strings.Contains(said, "/nowhere/a.sock") {
		t.Errorf("ls: %d: %s", code, said)
	}
}
