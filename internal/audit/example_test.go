package audit_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"keyway/internal/audit"
)

// A line that was changed afterwards no longer matches the next one.
func Example() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "audit.jsonl")
	log, err := audit.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, host := range []string{"git", "stranger"} {
		err = log.Append(audit.Event{Event: audit.Sign, Verdict: audit.Allowed, Reason: "login to " + host})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	log.Close()

	report, err := audit.Verify(path)
	fmt.Println(report.Events, err)

	text, _ := os.ReadFile(path)
	os.WriteFile(path, bytes.Replace(text, []byte("login to git"), []byte("login to you"), 1), 0o600)
	_, err = audit.Verify(path)
	fmt.Println(err != nil)
	// Output:
	// 2 <nil>
	// true
}
