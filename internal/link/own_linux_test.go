package link

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestAnSSHThatDidNotAnswerIsAskedAgain kills the program that is asked for its options. Only
// an answer is remembered.
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
