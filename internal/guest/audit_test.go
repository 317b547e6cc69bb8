//go:build linux

package guest

import (
	"regexp"
	"strings"
	"testing"
)

// notKnown matches the messages of ssh-audit about algorithms that are newer than ssh-audit.
var notKnown = regexp.MustCompile(`^\(kex\) (mlkem768x25519-sha256|kex-strict-s-v00@openssh\.com) +-- \[warn\] unknown algorithm$`)

// TestAudit checks that ssh-audit finds no weakness in the guest's algorithms; it may only report
// that it does not know the newest ones.
func TestAudit(t *testing.T) {
	w := startWorkspace(t)
	out := w.run(w.command("ssh-audit", "-n", "-p", w.relayTCP(), "127.0.0.1")).stdout
	if !strings.Contains(out, "(mac) hmac-sha2-256-etm@openssh.com") {
		t.Fatalf("it did not get to the end:\n%s", out)
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		said := strings.Contains(line, "[warn]") || strings.Contains(line, "[fail]") || strings.HasPrefix(line, "(rec)") || strings.HasPrefix(line, "(cve)")
		if said && !notKnown.MatchString(line) {
			t.Error(line)
		}
	}
}
