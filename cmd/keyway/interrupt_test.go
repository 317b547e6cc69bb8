package main

import (
	"slices"
	"strings"
	"testing"
)

func TestRunningWith(t *testing.T) {
	const list = `[
		{"name": "a", "state": "running", "command": ["python", "x y"]},
		{"name": "b", "state": "ended", "command": ["python", "x y"]},
		{"name": "c", "state": "running", "command": ["python", "x", "y"]},
		{"name": "d", "state": "running", "command": ["python", "x y"], "holder": 7}
	]`
	got, err := runningWith(strings.NewReader(list), []string{"python", "x y"})
	if err != nil || !slices.Equal(got, []string{"a", "d"}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "[", `{"name": 1}`, "[" + strings.Repeat(" ", maxJobList) + "]"} {
		if got, err := runningWith(strings.NewReader(bad), nil); err == nil {
			t.Errorf("%.20q: %q", bad, got)
		}
	}
}

// A job is found by its command although its record has less of it, or other bytes.
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
