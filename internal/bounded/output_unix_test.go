//go:build unix

package bounded

import (
	"os/exec"
	"testing"
)

// TestEndlessOutputEnds checks that a command that prints without end is killed, and its output is
// cut.
func TestEndlessOutputEnds(t *testing.T) {
	for line, most := range map[string]int{"yes": 1 << 20, "printf 123456": 5} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		if out, err := Output(cmd, most); err == nil || len(out) > most {
			t.Errorf("%s: %d bytes, %v", line, len(out), err)
		}
	}
	if out, err := Output(exec.CommandContext(t.Context(), "sh", "-c", "printf 12345"), 5); err != nil || string(out) != "12345" {
		t.Errorf("%q, %v", out, err)
	}
}
