//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnEmptyAgentIsNotTheLastWord has two real agents: the desktop's, which is empty,
// and the one of IdentityAgent.
func TestAnEmptyAgentIsNotTheLastWord(t *testing.T) {
	dir := t.TempDir()
	run := func(socket, name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
	}
	empty, vault := filepath.Join(dir, "empty"), filepath.Join(dir, "vault")
	for _, socket := range []string{empty, vault} {
		out, err := exec.Command("ssh-agent", "-s", "-a", socket).Output()
		_, pid, found := strings.Cut(string(out), "SSH_AGENT_PID=")
		pid, _, _ = strings.Cut(pid, ";")
		if err != nil || !found {
			t.Fatalf("ssh-agent: %v: %s", err, out)
		}
		t.Cleanup(func() { run(socket, "kill", pid) })
	}
	run("", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f", filepath.Join(dir, "key"))
	run(vault, "ssh-add", "-q", filepath.Join(dir, "key"))
	t.Setenv("SSH_AUTH_SOCK", empty)
	a := &app{runtime: dir}
	if keys, err := a.agentKeys(t.Context(), vault); err != nil || len(keys) != 1 || keys[0].comment != "mine" {
		t.Errorf("the keys are %v, %v", keys, err)
	}
	if _, err := a.agentKeys(t.Context(), ""); err == nil {
		t.Error("an empty agent alone has keys")
	}
}
