package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"

	"keyway/internal/sshconfig"
	"keyway/internal/unixsock"
)

// config writes the user's ~/.ssh/config, by host, and a known_hosts that knows them.
func (f *faulty) config(hosts map[string]string) {
	f.t.Helper()
	var config strings.Builder
	for name, lines := range hosts {
		fmt.Fprintf(&config, "Host %s\n%s\nHostName 127.0.0.1\nHostKeyAlias host\n", name, lines)
	}
	config.WriteString("Host *\nStrictHostKeyChecking yes\nUser root\nIdentityFile ~/.ssh/id\n")
	write(f.t, f.ssh("config"), config.String(), 0o600)
	write(f.t, f.ssh("known_hosts"), "host "+f.read(f.ssh("host.pub")), 0o600)
}

// fails runs keyway, and expects the exit code, the sentence and the next step within a minute.
func (f *faulty) fails(code int, says, next string, args ...string) {
	f.t.Helper()
	begun := time.Now()
	said, got := f.run("files", nil, args...)
	_, sentence, _ := strings.Cut(said, "keyway: ")
	first, behind, _ := strings.Cut(sentence, "\n")
	if got != code || !strings.Contains(first, says) || !strings.Contains(behind, next) {
		f.t.Errorf("%q, %d, want %d, %q and %q:\n%s", args, got, code, says, next, said)
	}
	if took := time.Since(begun); took > time.Minute {
		f.t.Errorf("%q took %v", args, took)
	}
}

// TestErrorsNameTheFullDisk checks that the error names the laptop's disk if it is full.
func TestErrorsNameTheFullDisk(t *testing.T) {
	f := newFaulty(t)
	t.Setenv("XDG_RUNTIME_DIR", f.dir)
	endAgent(t) // that unlock starts
	f.prepare = "d=" + f.home + "/.local/state/keyway && mkdir -p $d && mount -t tmpfs -o size=16k none $d && { head -c 64k /dev/zero >$d/all 2>/dev/null || true; }"
	f.config(nil)
	for _, line := range [][]string{{"init", "--yes"}, {"unlock", f.home + "/.ssh/id"}} {
		f.fails(25, "no space left to write ", "→ see what is full: df -h "+f.home+"/.local/state/keyway", line...)
	}
}

// TestErrorsNameTheSilentHost checks that the error names the silent host if a firewall drops
// packets.
func TestErrorsNameTheSilentHost(t *testing.T) {
	f := newFaulty(t)
	f.prepare = "ip link set lo up && iptables -A INPUT -p tcp --dport 9 -j DROP"
	f.config(map[string]string{
		"silent": "Port 9\nConnectTimeout 1",
		"behind": "ProxyJump silent",
	})
	defer f.run("files", nil, "link", "stop")
	f.fails(11, "silent does not answer: it is down, or a firewall on the route drops what is sent to it", "try by hand: ssh -v silent true", "adopt", "--on", "silent")
	f.fails(11, "silent, on the route to behind, does not answer: ", "HostName and Port right: ssh -G silent", "adopt", "--on", "behind")
}

// TestErrorsNameThePlaceOfAJob checks that a command about a job reports, once, why the place of
// its workspace cannot be reached, and that ssh's own lines do not follow.
func TestErrorsNameThePlaceOfAJob(t *testing.T) {
	f := newFaulty(t)
	f.config(map[string]string{"gpu1": "Port " + unusedPort(t)})
	write(t, f.ssh("config"), "Include "+f.home+"/.local/state/keyway/ssh_config\n"+f.read(f.ssh("config")), 0o600)
	state := filepath.Join(f.dir, ".local", "state", "keyway")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	store := sshconfig.Open(state, sshconfig.Client{Program: os.Args[0]})
	if err := store.Add(sshconfig.Entry{Name: "train", Place: "gpu1", Engine: "host", User: "ada", HostKey: strings.TrimSpace(f.read(f.ssh("host.pub"))), Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(state, "ssh_config") // with the paths as the command sees them
	write(t, config, strings.ReplaceAll(f.read(config), state, filepath.Join(f.home, ".local", "state", "keyway")), 0o600)
	defer f.run("files", nil, "link", "stop")
	for _, line := range [][]string{{"kill", "train/exp7"}, {"run", "train", "--", "true"}, {"logs", "train"}, {"ls", "train"}} {
		said, code := f.run("files", nil, line...)
		if want := "keyway: gpu1 cannot be reached: Connection refused\n  → try by hand: ssh -v gpu1 true\n"; code != 255 || said != want {
			t.Errorf("%q, %d, want %q:\n%s", line, code, want, said)
		}
	}
	// To a plain ssh's own end, only one line of it is added, also if ssh gives its proxy command the
	// null device for errors.
	for _, options := range [][]string{nil, {"-o", "ControlMaster=auto", "-o", "ControlPath=" + f.home + "/%C", "-o", "ControlPersist=yes"}} {
		line := slices.Concat([]string{"ssh"}, options, []string{"train", "true"})
		said, code := f.program("files", nil, line...)
		if want := "keyway: gpu1 cannot be reached: Connection refused\n  → try by hand: ssh -v gpu1 true\nConnection closed by UNKNOWN port 65535\r\n"; code != 255 || said != want {
			t.Errorf("%q, %d, want %q:\n%s", line, code, want, said)
		}
	}
}

// TestAHostInPlaceOfAWorkspace checks the error for a host in place of a workspace, which new users
// often type.
func TestAHostInPlaceOfAWorkspace(t *testing.T) {
	f := newFaulty(t)
	f.config(map[string]string{"gpu1": "Port " + unusedPort(t)})
	for _, line := range [][]string{{"ssh", "gpu1"}, {"ssh", "gpu1", "nvidia-smi"}, {"run", "gpu1", "--", "true"}, {"stop", "gpu1"}, {"logs", "gpu1"}} {
		f.fails(30, "gpu1 is a host, not a workspace", "→ enter it: ssh gpu1", line...)
	}
	f.fails(30, "there is no workspace \"gpu7\" that this laptop knows", "keyway up --name NAME", "ssh", "gpu7")
}

// TestErrorsNameTheLockedAgent checks that the error names a locked agent, keyway's or another,
// even if the host also accepts passwords that no user can type.
func TestErrorsNameTheLockedAgent(t *testing.T) {
	f := newFaulty(t)
	t.Setenv("XDG_RUNTIME_DIR", f.dir)
	endAgent(t)
	f.config(map[string]string{"gpu1": "Port " + f.sshd("passwords", "Match all\nPasswordAuthentication yes\nAuthorizedKeysFile "+f.ssh("shut.pub"))})
	defer f.run("files", nil, "link", "stop")
	other := filepath.Join(f.dir, "other.sock")
	start := exec.Command("ssh-agent", "-D", "-a", other)
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { start.Process.Kill(); start.Wait() })

	if said, code := f.run("files", nil, "unlock", f.home+"/.ssh/id"); code != 0 { // starts keyway's agent
		t.Fatal(said)
	}
	own := filepath.Join(f.dir, "keyway", "agent.sock")
	for _, socket := range []string{own, other} {
		a := awaitAgent(t, socket)
		if err := a.Lock([]byte("secret")); err != nil {
			t.Fatal(err)
		}
		if socket == other { // the user's other agent, once keyway's has ended
			f.do("sh", "-c", "rm "+own+" && ln -s "+other+" "+own)
		}
		f.fails(15, "the agent is locked or holds no key", "→ keyway unlock", "adopt", "--on", "gpu1")
		f.fails(15, "the agent is locked or holds no key", "keyway unlock", "up", "--on", "gpu1", "--name", "a")
		f.fails(15, "the agent is locked or holds no key", "→ unlock yours: keyway unlock", "keys")
		if said, code := f.run("files", nil, "status", "gpu1"); code != 15 || strings.Contains(said, "the agent is locked") { // standard output has it
			t.Errorf("status: %d, %q", code, said)
		}
		f.fails(15, "it is locked with a passphrase of its own (ssh-add -x)", " ssh-add -X", "unlock", f.home+"/.ssh/id")
		f.fails(15, "it is locked with a passphrase of its own (ssh-add -x)", " ssh-add -X", "lock")
		if err := a.Unlock([]byte("secret")); err != nil {
			t.Error(err)
		}
		f.run("files", nil, "link", "stop")
	}
}

// awaitAgent connects to an agent that may still be starting.
func awaitAgent(t *testing.T, socket string) agent.ExtendedAgent {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		conn, err := unixsock.Dial(socket)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			return agent.NewClient(conn)
		}
		if time.Now().After(deadline) {
			t.Fatal(err, os.Getpid())
		}
	}
}
