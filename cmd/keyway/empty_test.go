package main

import (
	"testing"

	"keyway/internal/keyway"
)

// TestOptionsWithNothing checks each option of a new workspace with an empty text, as a script
// passes it if a variable is not set.
func TestOptionsWithNothing(t *testing.T) {
	for _, args := range [][]string{
		{"up", "--network", ""}, {"up", "--ipc="}, {"up", "--image", ""}, {"up", "--gpus="}, {"up", "--user", ""}, {"up", "--name="},
		{"up", "--on", ""}, {"up", "--engine="}, {"up", "--shm-size", ""}, {"up", "--memory="}, {"up", "--cpus="}, {"up", "--workdir", ""},
		{"up", "--home-volume="}, {"check", "--gpus", ""}, {"check", "--image="}, {"adopt", "--user=", "x"}, {"adopt", "--name", "", "x"},
	} {
		root := newRootCommand()
		root.SetArgs(args)
		if err := root.ExecuteContext(t.Context()); !keyway.Is(err, keyway.Usage) || keyway.AsError(err).Help() == "" {
			t.Errorf("%q: %v", args, err)
		}
	}
}
