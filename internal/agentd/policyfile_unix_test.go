//go:build unix

package agentd

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keyway/internal/policy"
)

// TestPolicyIsReadLater changes the policy while the process has no free descriptor. It checks that
// the policy is read as soon as possible, although the file does not change again, and that the
// error is logged once.
func TestPolicyIsReadLater(t *testing.T) {
	var news bytes.Buffer
	f, write := followedPolicy(t, filepath.Join(t.TempDir(), "policy.yaml"), &news)
	write("rules:\n  - deny: any\n")
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	verdicts := []policy.Verdict{f.current().Decide(provenLogin, nil).Verdict, f.current().Decide(provenLogin, nil).Verdict}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if verdicts[0] != policy.Allow || verdicts[1] != policy.Allow || strings.Count(news.String(), "the last good policy stays") != 1 {
		t.Errorf("without descriptors: %v, and it says %q", verdicts, news.String())
	}
	if d := f.current().Decide(provenLogin, nil); d.Verdict != policy.Deny {
		t.Errorf("afterwards: %+v", d)
	}
}
