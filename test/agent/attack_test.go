//go:build linux

package agent

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is a stock sshd that the user's key may log in to.
type server struct {
	name string
	port string
	key  string // public
}

// sshd starts one. All of them are this machine and this user; what tells them
// apart is what tells hosts apart for SSH, their keys.
func (p place) sshd(t *testing.T, name string) server {
	t.Helper()
	s := server{name: name, port: freePort(t)}
	host := filepath.Join(p.dir, "host_"+name)
	if out, err := p.run(t, 20*time.Second, p.dir, p.env(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	public, err := os.ReadFile(host + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	s.key = strings.Join(strings.Fields(string(public))[:2], " ")
	config := filepath.Join(p.dir, "sshd_"+name)
	text := fmt.Sprintf("Port %s\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nPermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\n",
		s.port, host, filepath.Join(p.dir, "id_ed25519.pub"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", config)
	cmd.Env = p.env()
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("sshd %s: %s", name, said.String())
		}
	})
	s.await(t)
	return s
}

func (s server) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", "127.0.0.1:"+s.port)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// ssh is the command line of stock ssh to s, with options.
func (p place) ssh(s server, options ...string) []string {
	argv := []string{"ssh", "-F", "none", "-p", s.port, "-o", "BatchMode=yes", "-o", "HostKeyAlias=" + s.name,
		"-o", "UserKnownHostsFile=" + filepath.Join(p.dir, "known_hosts"), "-o", "StrictHostKeyChecking=yes",
		"-o", "IdentityFile=none", "-l", "root"}
	return append(append(argv, options...), "127.0.0.1")
}

// TestForwardedAgentIsAttacked gives root on a bastion what DESIGN says it tries:
// the forwarded socket, and OpenSSH's own programs.
func TestForwardedAgentIsAttacked(t *testing.T) {
	needs(t, "ssh", "ssh-add", "ssh-keygen", "/usr/sbin/sshd")
	if os.Getuid() != 0 {
		t.Skip("sshd needs root here")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, "standard")
	key := p.key(t, "ed25519")
	p.key(t, "rsa") // the attacker's
	bastion, train, db := p.sshd(t, "bastion"), p.sshd(t, "train"), p.sshd(t, "db")
	known := fmt.Sprintf("bastion %s\ntrain %s\ndb %s\n", bastion.key, train.key, db.key)
	for path, text := range map[string]string{
		"known_hosts":              known,
		"state/keyway/known_hosts": "train.keyway " + train.key + "\n",
		"message":                  "a commit",
	} {
		os.MkdirAll(filepath.Dir(filepath.Join(p.dir, path)), 0o700)
		if err := os.WriteFile(filepath.Join(p.dir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(p.dir, "askpass"), []byte("#!/bin/sh\necho password\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Run("ssh-agent", func(t *testing.T) {
		s := p.startStock(t)
		for i, worked := range s.attack(t, s.socket, bastion, train, db, key) {
			if a := attacks(s, bastion, train, db, key)[i]; worked != a.stock {
				t.Errorf("%s: %v, the table says %v", a.what, worked, a.stock)
			}
		}
	})
	for _, through := range []string{"agent.sock", "forward.sock"} {
		t.Run(through, func(t *testing.T) {
			s := p.start(t)
			local := s.socket
			if through == "forward.sock" {
				local = s.forward
			}
			for i, worked := range s.attack(t, local, bastion, train, db, key) {
				if a := attacks(s, bastion, train, db, key)[i]; worked != a.ours {
					t.Errorf("%s: %v, the table says %v", a.what, worked, a.ours)
				}
			}
			s.afterAttack(t)
		})
	}
}

// startStock starts the ssh-agent that is installed.
func (p place) startStock(t *testing.T) started {
	t.Helper()
	stock, err := exec.LookPath("ssh-agent")
	if err != nil {
		t.Skip("ssh-agent is not installed")
	}
	s := started{place: p, socket: filepath.Join(p.dir, "run", "stock")}
	out, err := p.run(t, 20*time.Second, p.dir, p.env(), stock, "-s", "-a", s.socket)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, after, _ := strings.Cut(out, "SSH_AGENT_PID=")
	text, _, _ := strings.Cut(after, ";")
	if s.pid, err = strconv.Atoi(text); err != nil {
		t.Fatalf("it said: %s", out)
	}
	t.Cleanup(func() { syscall.Kill(s.pid, syscall.SIGTERM); awaitGone(t, s.pid) })
	return s
}

func (s started) unlock(t *testing.T, key string) {
	t.Helper()
	if out, err := s.add(t, "-q", key); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// attempt is what an attacker with the forwarded socket tries, and whether it
// works with either agent.
type attempt struct {
	what        string
	command     string // for the bastion's shell
	stock, ours bool
}

func attacks(s started, bastion, train, db server, key string) []attempt {
	quote := func(argv []string) string { return strings.Join(argv, " ") }
	return []attempt{
		{"list the keys", "ssh-add -l", true, true},
		{"log in to a workspace of the user", quote(append(s.ssh(train), "true")), true, true},
		{"log in to another host", quote(append(s.ssh(db), "true")), true, false},
		{"log in to the bastion itself as the user", quote(append(s.ssh(bastion), "true")), true, false},
		{"go on from the workspace to another host", quote(append(s.ssh(train, "-A"), `"`+quote(append(s.ssh(db), "true"))+`"`)), true, false},
		{"sign a git commit", "ssh-keygen -Y sign -n git -f " + key + ".pub message", true, false},
		{"sign a file", "ssh-keygen -Y sign -n file -f " + key + ".pub message", true, false},
		{"sign any data", "ssh-add -T " + key + ".pub", true, false},
		{"add a key", "ssh-add -q id_rsa", true, false},
		{"add a key for a while", "ssh-add -q -t 60 id_rsa", true, false},
		{"lock the agent, and unlock it", "export SSH_ASKPASS=./askpass SSH_ASKPASS_REQUIRE=force; ssh-add -x && ssh-add -X", true, false},
		{"remove a key", "ssh-add -q -d " + key + ".pub", true, false},
		{"remove all keys", "ssh-add -q -D", true, false},
		{"have a library loaded", "SSH_ASKPASS=./askpass SSH_ASKPASS_REQUIRE=force ssh-add -s /usr/lib/x86_64-linux-gnu/libc.so.6", false, false},
	}
}

// attack tries everything on the bastion, through the forwarded socket.
func (s started) attack(t *testing.T, forwarded string, bastion, train, db server, key string) (worked []bool) {
	t.Helper()
	for _, a := range attacks(s, bastion, train, db, key) {
		s.unlock(t, key) // the attempt before may have removed it
		argv := append(s.ssh(bastion, "-A"), fmt.Sprintf("cd %s && { %s; }", s.dir, a.command))
		_, err := s.run(t, 60*time.Second, s.dir, s.env("SSH_AUTH_SOCK="+forwarded), s.withLocal(argv)...)
		worked = append(worked, err == nil)
		os.Remove(filepath.Join(s.dir, "message.sig"))
	}
	return worked
}

// afterAttack checks that the agent is as it was, and that all is in its log.
func (s started) afterAttack(t *testing.T) {
	t.Helper()
	if out, err := s.add(t, "-l"); err != nil || strings.Count(out, "\n") != 1 {
		t.Errorf("the agent is not what it was: %v: %s", err, out)
	}
	log, err := os.ReadFile(filepath.Join(s.dir, "state/keyway/audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"to":"train"`, `"verdict":"denied"`, `"namespace":"git"`, `"event":"remove"`, `"event":"add"`, `"event":"lock"`, `"event":"load"`} {
		if !bytes.Contains(log, []byte(want)) {
			t.Errorf("the log does not have %s", want)
		}
	}
}

// TestTableOfAttacks keeps the table in docs/THREATS.md to what the attack shows.
func TestTableOfAttacks(t *testing.T) {
	const begin, end = "<!-- attacks: begin -->\n", "<!-- attacks: end -->\n"
	path := filepath.Join("..", "..", "docs", "THREATS.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(data), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatal("docs/THREATS.md has no place for the table")
	}
	var b strings.Builder
	b.WriteString("| root on the bastion tries to | ssh-agent | keyway's agent |\n|---|---|---|\n")
	word := map[bool]string{true: "works", false: "refused"}
	for _, a := range attacks(started{}, server{}, server{}, server{}, "") {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", a.what, word[a.stock], word[a.ours])
	}
	if table == b.String() {
		return
	}
	if os.Getenv("KEYWAY_UPDATE") == "" {
		t.Fatalf("the table is another; write it with KEYWAY_UPDATE=1. It should be:\n%s", b.String())
	}
	if err := os.WriteFile(path, []byte(before+begin+b.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// withLocal has ssh log in with the agent of this machine, and forward the one
// that is attacked.
func (s started) withLocal(argv []string) []string {
	with := append([]string{}, argv[:1]...)
	with = append(with, "-o", "IdentityAgent="+s.socket)
	for _, a := range argv[1:] {
		if a == "-A" && !strings.Contains(strings.Join(with, " "), "ForwardAgent=") {
			with = append(with, "-o", "ForwardAgent=$SSH_AUTH_SOCK")
			continue
		}
		with = append(with, a)
	}
	return with
}
