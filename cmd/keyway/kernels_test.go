package main

import (
	"strings"
	"testing"

	"keyway/internal/laptop"
)

// TestKernelTable shows kernels as a workspace tells of them, which may be hostile.
func TestKernelTable(t *testing.T) {
	got := kernelTable([]laptop.Kernel{
		{ID: "0123456789", State: "busy", Running: 1, Queued: 2, Clients: 1, Notebook: "work/train.ipynb"},
		{ID: "abc", State: "idle"}, {ID: "\x1b[31m", State: "\n", Notebook: "x\x1b]0;title\a"},
	}, 0)
	for _, want := range []string{"01234567  busy, 2 cells wait", "work/train.ipynb", "abc ", "idle"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.ContainsAny(got, "\x1b\a") || strings.Count(got, "\n") != 5 {
		t.Errorf("%q", got)
	}
	if kernelTable(nil, 80) != "" {
		t.Error("no kernels, no table")
	}
}
