package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/test/await"
)

// upgradable is an agent of a program of its own, which the test replaces.
type upgradable struct {
	program, socket, forward string
	pid                      int
}

func startUpgradable(t *testing.T, args ...string) *upgradable {
	t.Helper()
	home := newLaptop(t)
	u := &upgradable{
		program: filepath.Join(home, "program"),
		socket:  filepath.Join(runtimeDir(t), "l"), forward: filepath.Join(runtimeDir(t), "f"),
	}
	u.install(t, "")
	cmd := exec.Command(u.program, append([]string{"agent", "-s", "-a", u.socket, "-O", "forward=" + u.forward}, args...)...)
	cmd.Env = append(os.Environ(), envMain+"=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, after, _ := strings.Cut(string(out), "SSH_AGENT_PID=")
	text, _, _ := strings.Cut(after, ";")
	if u.pid, err = strconv.Atoi(text); err != nil {
		t.Fatalf("it said: %s", out)
	}
	t.Cleanup(func() { syscall.Kill(u.pid, syscall.SIGTERM) })
	t.Setenv("SSH_AUTH_SOCK", u.socket)
	return u
}

// install replaces the agent's program by this one or by a script.
func (u *upgradable) install(t *testing.T, script string) {
	t.Helper()
	if script != "" {
		write(t, u.program+".new", script, 0o755)
	} else if out, err := exec.Command("cp", os.Args[0], u.program+".new").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Rename(u.program+".new", u.program); err != nil {
		t.Fatal(err)
	}
}

// renew asks the agent to execute the program, and waits for a text in the log.
func (u *upgradable) renew(t *testing.T, want string) {
	t.Helper()
	count := func() int {
		out, _ := program(t, nil, "log")
		return strings.Count(out, want)
	}
	before := count()
	if err := syscall.Kill(u.pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	await.That(t, "the log says "+want, func() bool { return count() > before })
}

// mustAdd runs ssh-add and returns its output.
func mustAdd(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ssh-add", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-add %v: %v: %s", args, err, out)
	}
	return string(out)
}

func openKey(t *testing.T, home string) string {
	t.Helper()
	key := lockedKey(t, home)
	if out, err := exec.Command("ssh-keygen", "-q", "-p", "-P", secret, "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return key
}

// TestRenewed checks that, after an upgrade, the same process runs the new program with the keys,
// and that connected clients notice nothing.
func TestRenewed(t *testing.T) {
	u := startUpgradable(t, "-O", "renew=any")
	key := openKey(t, os.Getenv("HOME"))
	mustAdd(t, "-q", "-t", "1000", key)
	if err := os.Remove(key); err != nil { // the key is only in the agent
		t.Fatal(err)
	}
	near, far := rawConn(t, u.socket), rawConn(t, u.forward)
	for range 3 {
		u.install(t, "")
		u.renew(t, "renew: keyway")
		exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", u.pid))
		installed, err2 := os.Stat(u.program)
		if err != nil || err2 != nil || !os.SameFile(exe, installed) {
			t.Fatalf("it is the old program still: %v %v", err, err2)
		}
		if out := mustAdd(t, "-T", key+".pub"); strings.Contains(out, "failed") {
			t.Error(out)
		}
		if got := near.ask(t, 11); got[0] != 12 || got[4] != 1 {
			t.Errorf("a list on the old connection: %v", got[:5])
		}
		if got := far.ask(t, 19); got[0] != 5 {
			t.Errorf("remove all on the old connection from far away: %v", got)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", u.pid))
		if os.Getuid() != 0 && err == nil {
			t.Errorf("it can be read: %d bytes", len(status))
		}
	}
	if out, code := program(t, nil, "log", "--verify"); code != 0 {
		t.Errorf("%s", out)
	}
}

// TestNotRenewed checks that the agent refuses a renewal that would lose the keys or give them to
// another program.
func TestNotRenewed(t *testing.T) {
	u := startUpgradable(t)
	home := os.Getenv("HOME")
	mustAdd(t, "-q", openKey(t, home))
	config := filepath.Join(home, ".config", "keyway")
	if err := os.MkdirAll(config, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, says string
		prepare    func()
	}{
		{"a broken program", "does not run", func() { u.install(t, "#!/bin/sh\nexit 1\n") }},
		{"a wrong policy", "would not start", func() {
			u.install(t, "")
			write(t, filepath.Join(config, "policy.yaml"), "rules: 5\n", 0o600)
		}},
		{"a program that others can change", "others than root", func() {
			os.Remove(filepath.Join(config, "policy.yaml"))
			if err := os.Chmod(u.program, 0o777); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		c.prepare()
		if os.Getuid() != 0 {
			c.says = "others than root" // all files here belong to the user
		}
		u.renew(t, c.says)
		if out := mustAdd(t, "-l"); !strings.Contains(out, "ED25519") {
			t.Errorf("%s: %s", c.name, out)
		}
	}
}

type rawConnection struct{ net.Conn }

func rawConn(t *testing.T, socket string) rawConnection {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := rawConnection{conn}
	c.ask(t, 11) // it has been accepted
	return c
}

// ask sends a message without contents.
func (c rawConnection) ask(t *testing.T, kind byte) []byte {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte{0, 0, 0, 1, kind}); err != nil {
		t.Fatal(err)
	}
	header := make([]byte, 4)
	if _, err := io.ReadFull(c, header); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, int(header[2])<<8|int(header[3]))
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatal(err)
	}
	return answer
}
