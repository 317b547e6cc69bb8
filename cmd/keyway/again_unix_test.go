//go:build unix

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/laptop"
	"keyway/internal/sshconfig"
)

// A log that was followed for long goes on from before the break, however long it takes to reach the
// workspace again. One that was followed for a moment begins again.
func TestWhereALogGoesOn(t *testing.T) {
	begun := time.Now()
	since := func(ago time.Duration) []string {
		return []string{"logs", "--follow", "--since", (ago + logsOverlap + time.Second).String()}
	}
	var r resumption
	at := begun.Add(time.Second)
	if got := r.words(begun, at, at.Add(time.Hour)); got != nil {
		t.Errorf("after a moment: %q", got)
	}
	begun = at.Add(time.Hour)
	broke := begun.Add(time.Minute)
	if got, want := r.words(begun, broke, broke.Add(5*time.Minute)), since(5*time.Minute); !slices.Equal(got, want) {
		t.Errorf("after a minute: %q, want %q", got, want)
	}
	begun = broke.Add(5 * time.Minute)
	if got, want := r.words(begun, begun.Add(time.Second), begun.Add(2*time.Second)), since(5*time.Minute+2*time.Second); !slices.Equal(got, want) {
		t.Errorf("after a moment then: %q, want %q", got, want)
	}
}

// A command that only looks goes on once ssh reaches the workspace again.
func TestAJobIsWatchedOnceItIsReached(t *testing.T) {
	home := newLaptop(t)
	here, err := laptop.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIHwwKLJpGBg5hy8VRb3SB4lXAeEZaV2mVCnGYKMuhVb"
	if err := here.Hosts.Add(sshconfig.Entry{Name: "train", Place: "gpu1", Engine: "docker", User: "root", HostKey: key}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, ".ssh", "config"), "Include "+here.Hosts.ConfigPath()+"\n", 0o600)
	calls := filepath.Join(home, "calls")
	write(t, filepath.Join(home, "bin", "ssh"), `#!/bin/sh
for last; do :; done
echo "$last" >>`+calls+`
case $(($(wc -l <`+calls+`))) in
1|2) echo 'Connection closed by remote host' >"$2"; exit 255;;
3) exit 0;;
4) exit 7;;
esac
exit 99
`, 0o755)
	t.Setenv("PATH", filepath.Join(home, "bin")+":"+os.Getenv("PATH"))
	err = inJob(t.Context(), inside{again: func(_, _ time.Time) []string { return []string{"wait", "again"} }}, "train/x", "wait")
	if err != exitStatus(7) {
		t.Errorf("it ends with %v", err)
	}
	made, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(made)), "\n")
	if len(lines) != 4 || lines[1] != "true" || lines[2] != "true" || !strings.Contains(lines[3], "again") || !strings.Contains(lines[3], "x") {
		t.Errorf("ssh is called %q", lines)
	}
}
