//go:build linux

package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"keyway/internal/audit"
	"keyway/test/lab"
)

// world is three machines: a laptop, a bastion and a GPU machine with stock sshd. The user has two
// workspaces on the GPU machine and has unlocked one key. db is a host that accepts the key, too,
// and is neither a workspace nor a git host. git is a public git host.
type world struct {
	*lab.Lab
	mine    string            // the user's public key
	hostKey map[string]string // of bastion, gpu1, db, git, train and second
	socket  map[string]string // of the guests in train and second, on the GPU machine
	db, git *exec.Cmd
}

const (
	train, second = "train", "second" // the workspaces
	dbPort        = "2022"
	gitPort       = "2023"
	knownHosts    = "/root/.ssh/known_hosts"
	ourKnownHosts = "/root/.local/state/keyway/known_hosts"
)

var (
	worldMu sync.Mutex
	made    *world
)

// theWorld is shared by all tests. They disturb only the agents that they start themselves.
func theWorld(t *testing.T) *world {
	t.Helper()
	worldMu.Lock()
	defer worldMu.Unlock()
	if made == nil {
		l, err := lab.Start(context.Background(), lab.Options{Bin: bin})
		if err != nil {
			t.Fatal(err)
		}
		made = &world{Lab: l, hostKey: map[string]string{}, socket: map[string]string{}}
		if err := made.furnish(); err != nil {
			t.Fatal(err)
		}
	}
	if made.Mode != lab.Namespaces || made.db == nil {
		t.Fatal("there is no world of namespaces")
	}
	return made
}

func closeWorld() error {
	if made == nil {
		return nil
	}
	for _, sshd := range []*exec.Cmd{made.db, made.git} {
		if sshd != nil {
			_ = sshd.Process.Kill()
			_ = sshd.Wait()
		}
	}
	return made.Close()
}

func (w *world) furnish() error {
	public, err := w.Laptop.ReadFile("/root/.ssh/id_ed25519.pub")
	if err != nil {
		return err
	}
	w.mine = strings.TrimSpace(public)
	if err := errors.Join(
		w.AddUser(w.Bastion, "me", 1000, "me@bastion"),
		w.AddUser(w.GPU, "me", 1000, "me@gpu1"),
		w.laptop(nil, "keyway", "init", "--yes"),
		w.laptop(w.AskpassEnv(), "keyway", "unlock"),
		w.laptop(nil, "keyway", "up", "--on", "gpu1", "--engine", "host", "--name", train),
		w.laptop(nil, "keyway", "up", "--on", "gpu1", "--engine", "host", "--name", second),
		w.startDB(), w.startGit(),
	); err != nil {
		return err
	}
	return w.learnHosts()
}

// laptop runs a command on the laptop that must succeed.
func (w *world) laptop(env []string, argv ...string) error {
	_, err := w.try(w.Laptop, env, argv...)
	return err
}

// try runs a command on a host and returns all its output.
func (w *world) try(h *lab.Host, env []string, argv ...string) (string, error) {
	cmd := h.Command(argv[0], argv[1:]...)
	cmd.Env = append(cmd.Env, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return "", err
	}
	late := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return out.String(), fmt.Errorf("%s: %s: %w: %s", h.Name, strings.Join(argv, " "), err, out.String())
	}
	return out.String(), nil
}

func (w *world) startDB() (err error) {
	if _, err := w.GPU.Output("sh", "-c", "mkdir -p /srv/db && ssh-keygen -q -t ed25519 -N '' -C db -f /srv/db/host_key"); err != nil {
		return err
	}
	w.db, err = w.startSSHD("db", dbPort)
	return err
}

// startGit starts the public git host, with the user's repository.
func (w *world) startGit() (err error) {
	if _, err := w.GPU.Output("sh", "-c", "mkdir -p /srv/git && git init -q --bare /srv/git/mine.git"); err != nil {
		return err
	}
	if err := w.GPU.WriteFile("/srv/git/host_key", string(gitHost), 0o600); err != nil {
		return err
	}
	if _, err := w.GPU.Output("sh", "-c", "ssh-keygen -y -f /srv/git/host_key >/srv/git/host_key.pub"); err != nil {
		return err
	}
	w.git, err = w.startSSHD("git", gitPort)
	return err
}

func (w *world) startSSHD(name, port string) (*exec.Cmd, error) {
	dir := "/srv/" + name
	config := fmt.Sprintf("Port %s\nListenAddress %s\nHostKey %s/host_key\nUsePAM no\nPidFile none\nMaxStartups 100\n", port, w.GPU.Address, dir)
	if err := w.GPU.WriteFile(dir+"/sshd_config", config, 0o600); err != nil {
		return nil, err
	}
	cmd := w.GPU.Command("/usr/sbin/sshd", "-D", "-e", "-f", dir+"/sshd_config")
	said, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(said)
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "listening") {
		return cmd, fmt.Errorf("sshd of %s: %q %w", name, line, err)
	}
	go io.Copy(io.Discard, lines) // ends with the process
	return cmd, nil
}

// learnHosts records the public host keys, and the names of the machines on the laptop.
func (w *world) learnHosts() error {
	known, err1 := w.Laptop.ReadFile(knownHosts)
	guests, err2 := w.Laptop.ReadFile(ourKnownHosts)
	db, err3 := w.GPU.ReadFile("/srv/db/host_key.pub")
	git, err4 := w.GPU.ReadFile("/srv/git/host_key.pub")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	names := map[string]string{w.Bastion.Address: "bastion", w.GPU.Address: "gpu1", train + ".keyway": train, second + ".keyway": second, "db": "db", "git": "git"}
	var more strings.Builder
	for line := range strings.Lines(known + guests + "db " + db + "git " + git) {
		f := strings.Fields(line)
		if len(f) < 3 || names[f[0]] == "" {
			continue
		}
		name, key := names[f[0]], f[1]+" "+f[2]
		w.hostKey[name] = key
		if name != train && name != second {
			fmt.Fprintf(&more, "%s %s\n", name, key)
		}
	}
	if len(w.hostKey) != len(names) {
		return fmt.Errorf("host keys only of %v", w.hostKey)
	}
	for _, name := range []string{train, second} {
		found, err := w.GPU.Output("find", "/root", "-name", "guest.sock", "-path", "*/"+name+"/*")
		if err != nil || strings.Count(found, "\n") != 1 {
			return fmt.Errorf("the socket of %s: %q %w", name, found, err)
		}
		w.socket[name] = strings.TrimSpace(found)
	}
	return w.Laptop.WriteFile(knownHosts, known+more.String(), 0o600)
}

// testAgent is an agent on the laptop.
type testAgent struct {
	w               *world
	name            string
	socket, forward string
	log             string // of the audit; empty for ssh-agent
}

// ours starts keyway's agent. env may name a program that answers questions.
func (w *world) ours(t *testing.T, name string, env ...string) *testAgent {
	t.Helper()
	a := &testAgent{w: w, name: name, socket: "/run/" + name, forward: "/run/" + name + ".forward", log: "/root/" + name + "/audit.jsonl"}
	if err := w.Laptop.WriteFile(a.log, "", 0o600); err != nil {
		t.Fatal(err)
	}
	a.start(t, env, "keyway", "agent", "-s", "-a", a.socket, "-O", "forward="+a.forward, "-O", "audit="+a.log)
	return a
}

func (w *world) stock(t *testing.T, name string, env ...string) *testAgent {
	t.Helper()
	a := &testAgent{w: w, name: name, socket: "/run/" + name}
	a.start(t, env, "ssh-agent", "-s", "-a", a.socket)
	return a
}

func (a *testAgent) start(t *testing.T, env []string, argv ...string) {
	t.Helper()
	out, err := a.w.try(a.w.Laptop, env, argv...)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(out, "SSH_AGENT_PID=")
	pid, _, _ := strings.Cut(after, ";")
	t.Cleanup(func() {
		if _, err := a.w.Laptop.Output("kill", pid); err != nil {
			t.Error(err)
		}
	})
}

// add runs ssh-add, which learns the passphrase.
func (a *testAgent) add(args ...string) (string, error) {
	env := append(a.w.AskpassEnv(), "SSH_AUTH_SOCK="+a.socket)
	return a.w.try(a.w.Laptop, env, append([]string{"ssh-add"}, args...)...)
}

// unlock adds the user's key, with only these options.
func (a *testAgent) unlock(t *testing.T, options ...string) {
	t.Helper()
	if out, err := a.add("-q", "-D"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := a.add(append(append([]string{"-q"}, options...), "/root/.ssh/id_ed25519")...); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// events returns the events of the audit log from the n-th on, counted from 0, and verifies the
// chain of lines.
func (a *testAgent) events(t *testing.T, n int) []audit.Event {
	t.Helper()
	if a.log == "" {
		return nil
	}
	path := a.w.Laptop.Path(a.log)
	if _, err := audit.Verify(path); err != nil {
		t.Fatal(err)
	}
	var list []audit.Event
	if err := audit.Read(path, func(e audit.Event) error { list = append(list, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return list[n:]
}

// hop is a machine that the user's agent is forwarded to.
type hop struct {
	name  string // as the user calls it
	host  *lab.Host
	login []string
}

// hops returns the machines on which an attacker is root, and the workspace, in which the attacker
// is the user.
func (w *world) hops() []hop {
	return []hop{
		{"bastion", w.Bastion, []string{"-o", "ProxyJump=none", "me@bastion"}},
		{"gpu1", w.GPU, []string{"me@gpu1"}},
		{train, w.GPU, []string{train}},
	}
}

// session is a shell of the user on a hop, with the agent forwarded, which an attacker there uses.
type session struct {
	w      *world
	agent  *testAgent
	hop    hop
	socket string // the forwarded agent's, on the hop
	dir    string // the attacker's
}

// forward logs in with ssh and forwards the agent that listens at socket.
func (a *testAgent) forwardTo(t *testing.T, h hop, socket string) *session {
	t.Helper()
	argv := append([]string{"ssh", "-o", "ForwardAgent=" + socket, "-o", "IdentityAgent=" + a.socket}, h.login...)
	return a.forwardBy(t, h, append(argv, showSocket))
}

// showSocket prints the forwarded agent's socket, and stays until its input ends.
const showSocket = "echo sock=$SSH_AUTH_SOCK; cat"

// forwardBy logs in with the client that has the given command line.
func (a *testAgent) forwardBy(t *testing.T, h hop, argv []string) *session {
	t.Helper()
	cmd := a.w.Laptop.Command(argv[0], argv[1:]...)
	cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+a.socket)
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	late.Stop()
	t.Cleanup(func() {
		in.Close()
		late := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		defer late.Stop()
		cmd.Wait()
	})
	socket, ok := strings.CutPrefix(strings.TrimSpace(line), "sock=")
	if err != nil || !ok || socket == "" {
		t.Fatalf("%s: %v: %q %s", strings.Join(argv, " "), err, line, said.String())
	}
	s := &session{w: a.w, agent: a, hop: h, socket: socket, dir: filepath.Join("/root", "at-"+h.name+"-"+a.name)}
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	return s
}

// prepare gives the attackers their files, on both machines: they work together.
func (s *session) prepare() error {
	var known strings.Builder
	for name, key := range s.w.hostKey {
		fmt.Fprintf(&known, "%s %s\n", name, key)
	}
	for _, h := range []*lab.Host{s.w.Bastion, s.w.GPU} {
		evil, err := os.ReadFile(h.Path(filepath.Join(s.dir, "evil")))
		if err == nil && len(evil) > 0 {
			continue // a second session of the same agent
		}
		for name, text := range map[string]string{"known_hosts": known.String(), "me.pub": s.w.mine + "\n", "message": "a message\n", "config": s.config(h)} {
			if err := h.WriteFile(filepath.Join(s.dir, name), text, 0o600); err != nil {
				return err
			}
		}
		script := "cd " + s.dir + ` && ssh-keygen -q -t ed25519 -N "" -C evil -f evil && printf '#!/bin/sh\necho password\n' >askpass && chmod 700 askpass`
		if _, err := h.Output("sh", "-c", script); err != nil {
			return err
		}
		public, err := h.ReadFile(filepath.Join(s.dir, "evil.pub"))
		if err != nil {
			return err
		}
		if _, err := s.w.GPU.Output("sh", "-c", `echo "$1" >>/root/.ssh/authorized_keys`, "sh", strings.TrimSpace(public)); err != nil {
			return err
		}
	}
	return nil
}

// config returns the attacker's ssh_config on a machine.
func (s *session) config(h *lab.Host) string {
	ways := map[string]string{
		"bastion": "HostName " + s.w.Bastion.Address, "gpu1": "HostName " + s.w.GPU.Address,
		"db":  "HostName " + s.w.GPU.Address + "\n  Port " + dbPort,
		"git": "HostName " + s.w.GPU.Address + "\n  Port " + gitPort,
		train: "ProxyCommand " + s.wayTo(h, train), second: "ProxyCommand " + s.wayTo(h, second),
	}
	var text strings.Builder
	for name, way := range ways {
		fmt.Fprintf(&text, "Host %[1]s\n  HostKeyAlias %[1]s\n  %[2]s\n", name, way)
	}
	fmt.Fprintf(&text, "Host *\n  User root\n  UserKnownHostsFile %s/known_hosts\n  GlobalKnownHostsFile none\n"+
		"  StrictHostKeyChecking yes\n  BatchMode yes\n  IdentityFile none\n", s.dir)
	return text.String()
}

// wayTo returns a command whose input and output are connected to a workspace's guest.
func (s *session) wayTo(h *lab.Host, workspace string) string {
	if h == s.w.GPU {
		return "nc -U " + s.w.socket[workspace]
	}
	return fmt.Sprintf("ssh -F none -i %[1]s/evil -o IdentityAgent=none -o HostKeyAlias=gpu1 -o UserKnownHostsFile=%[1]s/known_hosts root@%[2]s nc -U %[3]s",
		s.dir, s.w.GPU.Address, s.w.socket[workspace])
}

// sh runs the attacker's shell commands on the hop.
func (s *session) sh(script string) (string, error) {
	return s.shWith(s.socket, script)
}

func (s *session) shWith(socket, script string) (string, error) {
	env := []string{
		"SSH_AUTH_SOCK=" + socket, "HOME=" + s.dir, "LAB_DIR=" + s.dir, "HOP=" + s.hop.name, "THIRD=" + third(s.hop.name), "DB=" + s.w.GPU.Address, "DBPORT=" + dbPort,
		"WAY=" + s.wayTo(s.hop.host, second), "FINGERPRINT=" + s.w.fingerprint(second), "LIBRARY=" + library,
	}
	return s.w.try(s.hop.host, env, "sh", "-c", script)
}

// library is a PKCS#11 library that either agent loads for programs on the laptop.
const library = "/usr/lib/softhsm/libsofthsm2.so"
