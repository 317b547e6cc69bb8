//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// Kinds of a place that obeys, and hides its jobs or workspaces (hiding).
const (
	unseenJobs = "unseen-jobs" // train runs, but its guest does not list its jobs
	unlisted   = "unlisted"    // the place cannot list its workspaces
)

// hiding is the node of such a place.
type hiding struct {
	liar
	how string
}

func (h hiding) List(context.Context) (api.Listing, error) {
	if h.how == unlisted {
		return api.Listing{}, keyway.Errorf(keyway.Other, "too many open files")
	}
	return api.Listing{Workspaces: []keyway.Workspace{{Name: "train", Engine: keyway.EngineHost, State: keyway.Running, Sessions: 2}}}, nil
}

// TestJobsThatCannotBeListed checks that stop and rm ask if the list of jobs cannot be read: it
// does not count as empty. A workspace that its place cannot list is left alone.
func TestJobsThatCannotBeListed(t *testing.T) {
	openssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	home := lyingPlace(t)
	for _, c := range []struct {
		how, args string
		dialogue  [][2]string
		code      int
		says      string
	}{
		{unseenJobs, "stop train", [][2]string{{"[y/N]", "n"}}, keyway.ExitCode(declined("")), "Not all that runs can be seen ("},
		{unseenJobs, "rm train", [][2]string{{"[y/N]", "n"}}, keyway.ExitCode(declined("")), "Not all that runs can be seen ("},
		{unlisted, "stop --yes train", nil, 1, "too many open files"},
		{unlisted, "rm --yes train", nil, 1, "too many open files"},
		{unlisted, "start train", nil, 1, "too many open files"},
		{unseenJobs, "stop --yes train", nil, 0, "stopped train"},
		{unseenJobs, "rm train", [][2]string{{"[y/N]", "y"}}, 0, "removed train"},
	} {
		write(t, filepath.Join(home, "bin", "ssh"), "#!/bin/sh\ncase \" $* \" in *\" -G \"*|*\" -V \"*) exec "+openssh+" \"$@\";;\n"+
			"*\" -- train \"*) echo 'ada@train: Permission denied (publickey).' >&2; exit 255;; esac\n"+
			"exec env '"+envLiar+"=0 "+c.how+"' "+envMain+"=1 "+os.Args[0]+"\n", 0o755)
		said, code := onTTY(t, c.dialogue, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%s: keyway %s ends with %d, want %d and %q:\n%s", c.how, c.args, code, c.code, c.says, said)
		}
		if said, code := onTTY(t, nil, "link", "stop"); code != 0 {
			t.Fatalf("link stop: %s", said)
		}
	}
}
