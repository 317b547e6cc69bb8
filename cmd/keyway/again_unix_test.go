//go:build unix

package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/laptop"
	"keyway/internal/sshconfig"
)

// TestWhereALogGoesOn checks where a log of a guest that sends no marks continues: a little before
// the break if it was followed for a minute, and at the beginning if it was followed for a moment.
func TestWhereALogGoesOn(t *testing.T) {
	first := []string{"logs", "--follow", "--tail", "5", "job"}
	is := func(got []string, ago time.Duration) {
		t.Helper()
		if len(got) != 5 || !slices.Equal(got[:3], []string{"logs", "--follow", "--since"}) || got[4] != "job" {
			t.Fatalf("the words are %q", got)
		}
		since, err := time.ParseDuration(got[3])
		if more := since - ago - logsOverlap; err != nil || more < time.Second || more > time.Minute {
			t.Errorf("since %s, want %v and %v more", got[3], ago, logsOverlap)
		}
	}
	var s since
	begun := time.Now().Add(-time.Hour)
	if got := s.words(first, begun, begun.Add(time.Second), io.Discard); !slices.Equal(got, first) {
		t.Errorf("after a moment: %q", got)
	}
	is(s.words(first, begun, begun.Add(time.Minute), io.Discard), 59*time.Minute)
	now := time.Now()
	is(s.words([]string{"logs", "--follow", "--since", "1h", "job"}, now.Add(-time.Second), now, io.Discard), 59*time.Minute)
}

// TestAJobIsWatchedOnceItIsReached checks that a command that only watches a job continues after
// two failed runs of ssh, and ends with the exit code of the job.
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
	err = inJob(t.Context(), inside{again: &resumption{unmarked: func([]string, time.Time, time.Time, io.Writer) []string { return []string{"wait", "again", "x"} }}}, "train/x", "wait")
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
