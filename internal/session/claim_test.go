//go:build linux

package session

import (
	"os"
	"path/filepath"
	"testing"
)

// TestADamagedRecordIsKept checks that a session whose record cannot be read keeps its log, and
// makes room for a new session as any other that has ended. Only what a failed start has left
// behind is removed.
func TestADamagedRecordIsKept(t *testing.T) {
	r := Registry{Dir: t.TempDir(), Workspace: "train"}
	begin := func() (dir string) {
		t.Helper()
		c, err := r.Create("exp", []string{"true"})
		if err != nil {
			t.Fatal(err)
		}
		c.Settle()
		return c.Dir
	}
	dir := begin()
	for file, text := range map[string]string{MetaName: "{", "log": "what it has printed"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	if got, err := os.ReadFile(filepath.Join(r.Path("exp.1"), "log")); string(got) != "what it has printed" {
		t.Errorf("the log is %q, %v", got, err)
	}
	begin() // the second session has no record
	if left, err := filepath.Glob(r.Path("exp*")); err != nil || len(left) != 2 {
		t.Errorf("%q, %v", left, err)
	}
}
