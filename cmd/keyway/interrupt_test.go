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
