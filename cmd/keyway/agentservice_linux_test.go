package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestServiceFiles checks the service's files with systemd's own validation.
func TestServiceFiles(t *testing.T) {
	home := newLaptop(t)
	t.Setenv("XDG_CONFIG_HOME", "")
	if out, code := program(t, nil, "init", "--yes", "--no-passphrase", "--service"); code != 0 || !strings.Contains(out, "systemctl --user") {
		t.Fatalf("code %d: %s", code, out)
	}
	dir := filepath.Join(home, ".config/systemd/user")
	out, err := exec.Command("systemd-analyze", "--user", "verify", filepath.Join(dir, "keyway-agent.socket"), filepath.Join(dir, "keyway-agent.service")).CombinedOutput()
	if err != nil || strings.Contains(string(out), "keyway") {
		t.Errorf("%v: %s", err, out)
	}
	if out, code := program(t, nil, "init", "--undo", "--yes"); code != 0 || !strings.Contains(out, "rm -f "+filepath.Join(dir, "keyway-agent.socket")) {
		t.Errorf("code %d: %s", code, out)
	}
}

// TestStartedBySystemd checks that the first request starts the agent with the sockets of systemd's
// program, and that the agent does not remove these.
func TestStartedBySystemd(t *testing.T) {
	newLaptop(t)
	dir := runtimeDir(t)
	local, forward := filepath.Join(dir, "l"), filepath.Join(dir, "f")
	cmd := exec.Command("systemd-socket-activate", "-l", local, "-l", forward, "-E", envMain, "-E", "HOME", "-E", "XDG_STATE_HOME", "-E", "XDG_CONFIG_HOME", "-E", "XDG_RUNTIME_DIR", os.Args[0], "agent", "-D")
	cmd.Env = append(os.Environ(), envMain+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	newTranscript(stderr).await(t, "Listening on", 2)
	key := lockedKey(t, os.Getenv("HOME"))
	if out, err := exec.Command("ssh-keygen", "-q", "-p", "-P", secret, "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	add := func(socket string, args ...string) (string, error) {
		c := exec.Command("ssh-add", args...)
		c.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := add(local, "-q", key); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := add(forward, "-l"); err != nil || !strings.Contains(out, "ED25519") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := add(forward, "-D"); err == nil {
		t.Errorf("from far away: %s", out)
	}
	cmd.Process.Signal(syscall.SIGTERM) // the process is the agent by now
	cmd.Wait()
	for _, path := range []string{local, forward} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the agent took systemd's socket away: %v", err)
		}
	}
}
