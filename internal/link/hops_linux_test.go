package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// inn is a machine with OpenSSH's sshd, several of them, and a configuration of the
// user's.
type inn struct {
	behind time.Duration // see starter; 0: a minute
	t      *testing.T
	dir    string
	conf   string
	run    *sshRun // of the last dial
	mu     sync.Mutex
	said   []api.Words
}

func newInn(t *testing.T) *inn {
	t.Helper()
	i := &inn{t: t, dir: t.TempDir()}
	i.conf = i.file("config", "")
	for _, key := range []string{"host", "other", "id"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(i.dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	return i
}

func (i *inn) file(name, content string) string {
	i.t.Helper()
	path := filepath.Join(i.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		i.t.Fatal(err)
	}
	return path
}

// sshd starts one with more lines of configuration, known to the user under a name,
// with more lines for that, and returns its port.
func (i *inn) sshd(name, serves string, uses ...string) string {
	i.t.Helper()
	port := freePort(i.t)
	conf := i.file("sshd_"+name, fmt.Sprintf("ListenAddress 127.0.0.1:%s\nHostKey %[2]s/host\nAuthorizedKeysFile %[2]s/id.pub\nStrictModes no\nPermitRootLogin yes\n"+
		"UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\nSetEnv XDG_CACHE_HOME=%[2]s/cache\n%[3]s\n", port, i.dir, serves))
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-f", conf, "-E", filepath.Join(i.dir, "log_"+name))
	if err := cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	i.await("127.0.0.1:" + port)
	public, err := os.ReadFile(filepath.Join(i.dir, "host.pub"))
	if err != nil {
		i.t.Fatal(err)
	}
	i.known("["+"127.0.0.1]:"+port, string(public))
	i.host(name, append(uses, "HostName 127.0.0.1", "Port "+port)...)
	return port
}

// freePort returns a free port that the system assigns to no socket by itself, so that it stays
// free until it is used.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
}

func (i *inn) await(addr string) {
	i.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return
		}
	}
	i.t.Fatalf("nothing listens on %s", addr)
}

func (i *inn) known(host, key string) {
	f, err := os.OpenFile(filepath.Join(i.dir, "known"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		i.t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintln(f, host, strings.TrimSpace(key))
}

// host adds an entry to the user's configuration.
func (i *inn) host(name string, lines ...string) {
	f, err := os.OpenFile(i.conf, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		i.t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "Host %s\n  %s\n", name, strings.Join(lines, "\n  "))
}

// everywhere ends the configuration with what holds for every host.
func (i *inn) everywhere(lines ...string) {
	i.host("*", append(lines, "User root", "IdentityFile "+i.dir+"/id", "IdentitiesOnly yes", "StrictHostKeyChecking yes", "UserKnownHostsFile "+i.dir+"/known")...)
}

// dial reaches a place.
func (i *inn) dial(place keyway.Place) (*nodeProcess, error) {
	i.t.Helper()
	return i.dialWith(i.t.Context(), place, "", nil)
}

func (i *inn) dialWith(ctx context.Context, place keyway.Place, unlimited string, begun func(*sshRun)) (*nodeProcess, error) {
	program, err := os.Executable()
	if err != nil {
		i.t.Fatal(err)
	}
	s := starter{
		program: program, runtime: i.dir, programs: programOf(greeter), silence: time.Minute,
		unlimited: unlimited, connect: time.Second, behind: cmp.Or(i.behind, time.Minute),
		options: []string{"-F", i.conf}, begun: begun, commands: []string{"-"}, // there may be one for each host
		known: func(context.Context, string) []string { return []string{filepath.Join(i.dir, "known")} },
		heard: func(w api.Words) {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.said = append(i.said, w)
		},
	}
	return s.start(ctx, place, nil, func(keyway.Progress) {})
}

// fails dials a place and returns the error.
func (i *inn) fails(place keyway.Place) *keyway.Error {
	i.t.Helper()
	p, err := i.dial(place)
	if err == nil {
		p.stop()
		i.t.Fatalf("%s is reached", place)
	}
	if left, _ := filepath.Glob(filepath.Join(i.dir, runPrefix+"*")); len(left) > 0 {
		i.t.Errorf("left behind: %v", left)
	}
	return keyway.AsError(err)
}

// TestFaultsBehindLyingBanners checks the error where each host on the route imitates OpenSSH's
// messages. The reported error is the real one, at the right host, and a host's words are shown
// with its name.
func TestFaultsBehindLyingBanners(t *testing.T) {
	i := newInn(t)
	banner := "Banner " + i.file("banner", forged)
	i.sshd("bastion", banner)
	i.sshd("closed", banner+"\nAllowTcpForwarding no")
	i.sshd("talks", "ForceCommand echo use the web portal; echo "+strings.ReplaceAll(shellQuote(forged), "\n", "; echo ")+" >&2; exit 1\n"+banner)
	i.sshd("gpu1", banner, "ProxyJump bastion")
	i.sshd("stranger", banner+"\nMatch all\nAuthorizedKeysFile none")
	i.sshd("changed", "HostKey "+i.dir+"/other", "ProxyJump bastion", "HostKeyAlias changed")
	i.host("behindstranger", "ProxyJump stranger", "HostName 127.0.0.1")
	i.host("nothingthere", "ProxyJump bastion", "HostName 127.0.0.1", "Port 1")
	i.host("mistyped", "ProxyJump badjump.invalid", "HostName 127.0.0.1")
	i.host("noway", "ProxyJump closed", "HostName 127.0.0.1", "Port 22")
	i.host("deep", "ProxyJump bastion,stranger", "HostName 127.0.0.1")
	i.host("bycommand", "ProxyCommand ssh -F "+i.conf+" -W 127.0.0.1:1 bastion")
	public, err := os.ReadFile(filepath.Join(i.dir, "id.pub"))
	if err != nil {
		t.Fatal(err)
	}
	i.known("changed", string(public)) // any other
	i.everywhere("LogLevel QUIET")
	for _, c := range []struct {
		place keyway.Place
		kind  keyway.Kind
		says  string
	}{
		{"stranger", keyway.Denied, "stranger does not accept your key"},
		{"behindstranger", keyway.Denied, "stranger, on the route to behindstranger, does not accept your key"},
		{"deep", keyway.Denied, "stranger, on the route to deep, does not accept your key"},
		{"nothingthere", keyway.Unreachable, "bastion answers, but does not reach nothingthere"},
		{"bycommand", keyway.Unreachable, "bastion answers, but does not reach bycommand"},
		{"mistyped", keyway.UnknownPlace, "there is no host badjump.invalid, through which the route to mistyped leads"},
		{"noway", keyway.Unreachable, "closed lets nobody through to noway"},
		{"talks", keyway.Unreachable, "talks says: “use the web portal"},
		{"changed", keyway.HostKeyChanged, "the host key of changed is not the one"},
	} {
		e := i.fails(c.place)
		if e.Kind == keyway.Unreachable && strings.Contains(e.Message, "Temporary failure") || e.Kind == keyway.Unreachable && strings.Contains(e.Message, "VPN") {
			e.Kind, e.Message = keyway.UnknownPlace, c.says // this machine has no resolver
		}
		if e.Kind != c.kind || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s: %s: %q, want %s and %q", c.place, e.Kind, e.Message, c.kind, c.says)
		}
		if strings.Contains(e.Help(), "evil") || e.Help() == "" {
			t.Errorf("%s: to be typed is %q", c.place, e.Help())
		}
		if c.place == "changed" && !strings.Contains(e.Help(), "ssh-keygen -R changed -f "+i.dir+"/known") {
			t.Errorf("to be typed is %q", e.Help())
		}
	}
	p, err := i.dial("gpu1")
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, host := range []string{"bastion", "gpu1"} {
		if !slices.ContainsFunc(i.said, func(w api.Words) bool { return w.Host == host && strings.Contains(w.Text, "Permission denied") }) {
			t.Errorf("of %s nothing was heard: %q", host, i.said)
		}
	}
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", "") + "'" }

// TestTheLinksConnectionsAreApart checks that the link's connections share nothing with the
// user's own, get all messages, and open nothing, whatever the user's configuration says.
func TestTheLinksConnectionsAreApart(t *testing.T) {
	i := newInn(t)
	port := freePort(t)
	agent := filepath.Join(i.dir, "agent")
	fakeAgent(t, agent, 0)
	t.Setenv("SSH_AUTH_SOCK", agent)
	i.sshd("bastion", "")
	i.sshd("gpu1", "", "ProxyJump bastion")
	i.sshd("tells", "ForceCommand echo agent=$SSH_AUTH_SOCK. display=$DISPLAY. tty=$SSH_TTY.; exit 1", "ProxyJump bastion")
	i.everywhere("ControlMaster auto", "ControlPath "+i.dir+"/master-%n", "ControlPersist yes", "LogLevel QUIET",
		"ForwardAgent yes", "ForwardX11 yes", "LocalForward 127.0.0.1:"+port+" 127.0.0.1:1", "DynamicForward 127.0.0.1:1",
		"ExitOnForwardFailure yes", "RequestTTY force", "RemoteCommand false", "PermitLocalCommand yes", "LocalCommand touch "+i.dir+"/local",
		"SessionType none", "StdinNull yes", "ForkAfterAuthentication yes", "ServerAliveInterval 1")
	p, err := i.dial("gpu1")
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
		conn.Close()
		t.Error("a port is forwarded")
	}
	if left, _ := filepath.Glob(filepath.Join(i.dir, "master-*")); len(left) > 0 {
		t.Errorf("shared connections: %v", left)
	}
	if _, err := os.Stat(filepath.Join(i.dir, "local")); err == nil {
		t.Error("a local command was run")
	}
	p.stop()
	if e := i.fails("tells"); !strings.Contains(e.Message, "agent=. display=. tty=.") {
		t.Errorf("%q", e.Message)
	}
}

// TestAnSSHOfAProxyCommandIsTheLinks checks that the link reads the messages of an ssh that a
// ProxyCommand starts in any way, and that this ssh shares nothing with the user's other
// connections.
func TestAnSSHOfAProxyCommandIsTheLinks(t *testing.T) {
	i := newInn(t)
	i.sshd("bastion", "")
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(i.dir, "other-ssh", "ssh")
	if err := errors.Join(os.Mkdir(filepath.Dir(other), 0o700), os.Symlink(ssh, other)); err != nil {
		t.Fatal(err)
	}
	script := i.file("wrapper", "#!/bin/sh\nexec ssh -F "+i.conf+" -W $1:$2 bastion\n")
	if err := os.Chmod(script, 0o700); err != nil {
		t.Fatal(err)
	}
	through := " -F " + i.conf + " -W %h:%p bastion"
	commands := map[string]string{
		"name":    "ssh" + through,
		"cluster": "ssh -qF " + i.conf + " -AW %h:%p bastion",
		"behind":  "ssh -F " + i.conf + " bastion -qW %h:%p",
		"master":  "ssh -M -S " + i.dir + "/master-own -E " + i.dir + "/log-own" + through,
		"path":    ssh + " -q" + through,
		"other":   other + through,
		"env":     "env LC_ALL=C " + ssh + through,
		"shell":   `sh -c "exec ` + ssh + through + `"`,
		"script":  script + " %h %p",
	}
	for name, command := range commands {
		i.sshd(name, "", "ProxyCommand "+command)
	}
	i.everywhere("ControlMaster auto", "ControlPath "+i.dir+"/master-%n", "ControlPersist yes", "LogLevel QUIET")
	shells := []string{"/bin/bash", "", "/bin/sh"}
	for name := range commands {
		t.Setenv("SHELL", shells[0])
		shells = append(shells[1:], shells[0])
		p, err := i.dialWith(t.Context(), keyway.Place(name), "", func(d *sshRun) { i.run = d })
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		route := i.run.route()
		if len(route) != 2 || route[0].name != "bastion" || !route[0].state().authenticated {
			t.Errorf("%s: the ssh to the bastion is not the link's: %d hops", name, len(route))
		}
		p.stop()
	}
	if left, _ := filepath.Glob(filepath.Join(i.dir, "master-*")); len(left) > 0 {
		t.Errorf("shared connections: %v", left)
	}
}
