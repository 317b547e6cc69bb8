package agentd

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/policy"
)

// provenLogin is a request that the preset of openssh allows.
var provenLogin = policy.Facts{Op: policy.Sign, Remote: true, Proven: true, Purpose: policy.Login, Constraint: policy.Unconstrained, To: policy.Host{Fingerprint: "SHA256:x"}}

// followedPolicy opens a policy file that has openssh's preset. write replaces its content.
func followedPolicy(t *testing.T, path string, news io.Writer) (f *policyFile, write func(text string)) {
	t.Helper()
	write = func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("preset: openssh\n")
	f, err := openPolicy(path, news)
	if err != nil {
		t.Fatal(err)
	}
	return f, write
}

func TestPolicyFollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if _, err := openPolicy(path, io.Discard); err == nil {
		t.Error("a policy that was named and is not there")
	}
	var news bytes.Buffer
	f, write := followedPolicy(t, path, &news)
	expect := func(what string, want policy.Verdict) {
		t.Helper()
		if d := f.current().Decide(provenLogin, nil); d.Verdict != want {
			t.Errorf("%s: %+v", what, d)
		}
	}
	expect("openssh", policy.Allow)
	write("rules:\n  - deny: any\n")
	expect("changed", policy.Deny)
	write("rules: [a mistake]\n")
	expect("wrong", policy.Deny)
	if !strings.Contains(news.String(), "the last good policy stays") {
		t.Errorf("nothing was said: %q", news.String())
	}
	if _, err := openPolicy(path, io.Discard); err == nil {
		t.Error("an agent starts with a wrong policy")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("gone", policy.Ask)
}
