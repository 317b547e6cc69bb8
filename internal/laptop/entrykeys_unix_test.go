//go:build unix

package laptop

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// sshAgents starts real agents at sockets of these names in dir.
func sshAgents(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		out, err := exec.Command("ssh-agent", "-s", "-a", filepath.Join(dir, name)).Output()
		_, pid, found := strings.Cut(string(out), "SSH_AGENT_PID=")
		pid, _, _ = strings.Cut(pid, ";")
		if err != nil || !found {
			t.Fatalf("ssh-agent: %v: %s", err, out)
		}
		t.Cleanup(func() { run(t, "", "kill", pid) })
	}
}

// run runs a command with an agent.
func run(t *testing.T, socket, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// newKey makes a key file with the name of its comment.
func newKey(t *testing.T, dir, name, passphrase string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	run(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", file)
	return file
}

func comments(keys []PublicKey) (all []string) {
	for _, k := range keys {
		all = append(all, k.Comment)
	}
	return all
}

// TestTheAgentOfAHost checks the desktop's agent, one that IdentityAgent names, and keyway's own,
// each with and without a key.
func TestTheAgentOfAHost(t *testing.T) {
	for name, c := range map[string]struct {
		filled []string // names of the agents that hold a key
		own    bool     // keyway's agent is an ssh-agent of its own
		names  string   // IdentityAgent
		want   string   // the agent whose key may enter
		agent  string   // the agent that the entry has to name
	}{
		"the desktop's is empty":              {filled: []string{"vault"}, names: "vault", want: "vault", agent: "vault"},
		"ssh asks the one that it is told to": {filled: []string{"desktop", "vault"}, names: "vault", want: "vault", agent: "vault"},
		"ours holds a key":                    {filled: []string{"agent.sock", "vault"}, own: true, names: "vault", want: "agent.sock"},
		"ours is locked":                      {filled: []string{"vault"}, own: true, names: "vault", want: "vault", agent: "vault"},
		"what it is told to is empty":         {filled: []string{"desktop"}, names: "vault", want: "desktop"},
		"there is none at its path":           {filled: []string{"desktop"}, names: "nowhere", want: "desktop"},
		"none is named":                       {filled: []string{"desktop", "vault"}, want: "desktop"},
		"no agent holds a key":                {names: "vault"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sshAgents(t, dir, "desktop", "vault")
			if c.own {
				sshAgents(t, dir, "agent.sock")
			}
			for _, agent := range c.filled {
				run(t, filepath.Join(dir, agent), "ssh-add", "-q", newKey(t, dir, "key-"+agent, ""))
			}
			t.Setenv("SSH_AUTH_SOCK", filepath.Join(dir, "desktop"))
			here := &Laptop{runtime: dir}
			var host sshconfig.Host
			if c.names != "" {
				host.IdentityAgent = filepath.Join(dir, c.names)
			}
			socket, keys, err := here.agentOf(t.Context(), host)
			if c.want == "" {
				if !keyway.Is(err, keyway.NoKey) {
					t.Errorf("%v, %v", comments(keys), err)
				}
				return
			}
			if err != nil || !slices.Equal(comments(keys), []string{"key-" + c.want}) {
				t.Errorf("the keys are %v, %v, want that of %s", comments(keys), err, c.want)
			}
			if c.agent != "" {
				c.agent = filepath.Join(dir, c.agent)
			}
			if socket != c.agent {
				t.Errorf("the entry names %q, want %q", socket, c.agent)
			}
		})
	}
}

// TestOpenKeyFiles checks that a file without a passphrase counts as a key without an agent. A file
// with a passphrase, one that others may read, and one without a key do not.
func TestOpenKeyFiles(t *testing.T) {
	dir := t.TempDir()
	open, closed := newKey(t, dir, "open", ""), newKey(t, dir, "closed", "secret")
	loose, named, odd := newKey(t, dir, "loose", ""), newKey(t, dir, "named", ""), newKey(t, dir, "o$dd", "")
	if err := os.Chmod(loose, 0o644); err != nil {
		t.Fatal(err)
	}
	held, err := keyOfFile(t.Context(), newKey(t, dir, "held", ""))
	if err != nil {
		t.Fatal(err)
	}
	files := []string{open, closed, loose, named + ".pub", odd, filepath.Join(dir, "held"), dir, filepath.Join(dir, "nothing")}
	if got := openFiles(t.Context(), files, []PublicKey{held}); !slices.Equal(got, []string{open, named}) {
		t.Errorf("%v", got)
	}
}

// TestEndsAreOfTheListThatIsSent checks that keys with certificates keep their expiry times if the
// agent is locked after it has listed them.
func TestEndsAreOfTheListThatIsSent(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	newKey(t, dir, "ca", "")
	file := newKey(t, dir, "key", "")
	run(t, "", "ssh-keygen", "-q", "-s", filepath.Join(dir, "ca"), "-I", "today", "-n", "ada", "-V", "+1h", file+".pub")
	list := "#!/bin/sh\nmkdir " + dir + "/listed 2>/dev/null || exit 1\ncat " + file + ".pub " + file + "-cert.pub\n"
	if err := os.WriteFile(filepath.Join(dir, "ssh-add"), []byte(list), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	keys, err := (&Laptop{runtime: dir}).EntryKeys(t.Context(), "gpu1", nil)
	if err != nil {
		t.Fatal(err)
	}
	sent := keys.withEnds()
	if len(sent) != 1 || sent[0].Until.IsZero() || time.Until(sent[0].Until) > time.Hour {
		t.Errorf("%+v", sent)
	}
}
