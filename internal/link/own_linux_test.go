package link

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestAnSSHThatDidNotAnswerIsAskedAgain kills the ssh that is asked for its options. It checks that
// ssh is asked again, and that only an answer is remembered.
func TestAnSSHThatDidNotAnswerIsAskedAgain(t *testing.T) {
	for answer, knows := range map[int]bool{0: true, 255: false} {
		dir := t.TempDir()
		ssh, asked := filepath.Join(dir, "ssh"), filepath.Join(dir, "asked")
		script := fmt.Sprintf("#!/bin/sh\necho x >>%[1]s\ncase $(wc -l <%[1]s) in 1) kill -9 $$;; esac\nexit %[2]d\n", asked, answer)
		if err := os.WriteFile(ssh, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		for i, want := range []bool{false, knows, knows} {
			if got := slices.Equal(knownOptions(t.Context(), ssh, sessionOptions), sessionOptions); got != want {
				t.Errorf("an ssh that exits with %d, question %d: it knows them: %v", answer, i, got)
			}
		}
		if said, err := os.ReadFile(asked); err != nil || string(said) != "x\nx\n" {
			t.Errorf("it was asked %d times, want 2, %v", len(said)/2, err)
		}
	}
}

// TestAnOlderSSHPassesOverOptions checks that an older ssh, which does not know all OwnOptions,
// does not fail because of them.
func TestAnOlderSSHPassesOverOptions(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte("IgnoreUnknown UseKeychain\nUseKeychain yes\nSessionType none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// An option of a later version replaces the session's, which an older ssh would not know.
	args := slices.Concat([]string{"-F", config}, OwnOptions(), []string{"-o", "OfALaterVersion=yes", "-G", "--", "localhost"})
	out, err := exec.Command("ssh", args...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "sessiontype default\n") {
		t.Errorf("%v: %s", err, out)
	}
}
