//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keyway/internal/agent"
	"keyway/internal/audit"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/test/await"
)

// TestUnlockForAWhile checks that unlock sets the lifetime of a key that the agent holds, or asks
// for the passphrase.
func TestUnlockForAWhile(t *testing.T) {
	home := newLaptop(t)
	endAgent(t)
	key := lockedKey(t, home)
	askpass(t, home, secret)
	if out, code := program(t, nil, "unlock", "-t", "soon"); code != keyway.ExitCode(keyway.Errorf(keyway.Usage, "")) {
		t.Errorf("code %d: %s", code, out)
	}
	for _, step := range []struct {
		life, said string
		left       time.Duration
	}{
		{"", "unlocked " + key, 0},
		{"12h", "unlocked already: " + key + ", now for 12 hours", 12 * time.Hour},
		{"90m", "now for 1 hour 30 minutes", 90 * time.Minute},
		{"1d", "it needs the passphrase once more", 24 * time.Hour},
		{"1200", "now for 20 minutes", 20 * time.Minute},
	} {
		args := []string{"unlock"}
		if step.life != "" {
			args = append(args, "-t", step.life)
		}
		out, code := program(t, nil, args...)
		if code != 0 || !strings.Contains(out, step.said) {
			t.Errorf("-t %s: code %d: %s", step.life, code, out)
		}
		c, err := agent.Dial(filepath.Join(runtimeDir(t), "agent.sock"))
		if err != nil {
			t.Fatal(err)
		}
		keys, err := c.Keys(t.Context())
		c.Close()
		if err != nil || len(keys) != 1 {
			t.Fatalf("%+v %v", keys, err)
		}
		left := time.Duration(0)
		if !keys[0].Until.IsZero() {
			left = time.Until(keys[0].Until).Round(5 * time.Minute)
		}
		if left != step.left {
			t.Errorf("-t %s: %v are left", step.life, left)
		}
	}
	if out, code := program(t, nil, "unlock", "--forget-on", "idle=30m,sleep"); code != 0 {
		t.Errorf("code %d: %s", code, out)
	}
	if out, code := program(t, nil, "keys"); code != 0 || !strings.Contains(out, "forgotten after 30 minutes without a signature, when the machine sleeps, when "+key+" goes") {
		t.Errorf("code %d: %s", code, out)
	}
}

// TestUnlockForSeconds checks that a number alone means seconds, and that unlock says so.
func TestUnlockForSeconds(t *testing.T) {
	home := newLaptop(t)
	endAgent(t)
	lockedKey(t, home)
	askpass(t, home, secret)
	if out, code := program(t, nil, "unlock", "-t", "12"); code != 0 || !strings.Contains(out, "for 12 seconds") {
		t.Errorf("code %d: %s", code, out)
	}
}

// stockAgent starts OpenSSH's agent, and returns its socket.
func stockAgent(t *testing.T, home string) string {
	t.Helper()
	socket := filepath.Join(home, "stock")
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	await.That(t, "ssh-agent has its socket", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	return socket
}

// TestLogOfAnotherAgent checks that keyway log reports that the agent is not keyway's and keeps no
// log.
func TestLogOfAnotherAgent(t *testing.T) {
	home := newLaptop(t)
	t.Setenv("SSH_AUTH_SOCK", stockAgent(t, home))
	if out, code := program(t, nil, "log"); code != 0 || !strings.Contains(out, "is not keyway's") {
		t.Errorf("code %d: %s", code, out)
	}
}

// TestLogVerifiesRotation checks that keyway log --verify distinguishes files that keyway has
// rotated out from files that were removed, in a log that the agent has written.
func TestLogVerifiesRotation(t *testing.T) {
	newLaptop(t)
	path, err := dirs.AuditLog()
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	long := strings.Repeat("x", 500)
	var rotated []string
	for i := 0; len(rotated) < 2; i++ {
		e := audit.Event{Event: "sign", Verdict: audit.Denied, Reason: long, Rule: long, Request: audit.Request{User: long, Comment: long, To: long, From: long, Via: long, Program: long, Namespace: long}}
		if i == 3 {
			e = audit.Event{Event: "sign", Verdict: audit.Allowed, Request: audit.Request{Comment: "the-abuse", Purpose: "login", To: "db"}}
		}
		if err := l.Append(e); err != nil {
			t.Fatal(err)
		}
		if rotated, err = filepath.Glob(path + ".0*"); err != nil {
			t.Fatal(err)
		}
	}
	if out, code := program(t, nil, "log", "--verify"); code != 0 || !strings.HasPrefix(out, "sound: ") {
		t.Errorf("code %d: %s", code, out)
	}
	if out, _ := program(t, nil, "log"); !strings.Contains(out, "the-abuse to log in to db") {
		t.Error("the use is not shown")
	}
	if err := os.Remove(rotated[0]); err != nil {
		t.Fatal(err)
	}
	if out, code := program(t, nil, "log", "--verify"); code == 0 || !strings.Contains(out, "are missing") {
		t.Errorf("code %d: %s", code, out)
	}
}
