package main

import (
	"slices"
	"testing"
)

func TestJobWordsHaveOneOrder(t *testing.T) {
	r := jobRun{detach: true, tty: true, noTTY: true, as: "a", onExit: "b"}
	want := []string{"run", "-d", "-t", "-T", "--as", "a", "--on-exit", "b"}
	for range 50 {
		if got := r.words(false); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}
