package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
)

// TestManyWordsDoNotScrollAway checks that the beginning and the end of a host's long text are
// shown, and all of a short one.
func TestManyWordsDoNotScrollAway(t *testing.T) {
	for said, shown := range map[int]int{1: 1, 2: 3, 2 * shownOfWords: 2*shownOfWords + 1, 2*shownOfWords + 1: 2*shownOfWords + 2, 500: 2*shownOfWords + 2} {
		var out strings.Builder
		say(&out, api.Words{Host: "evil", Text: strings.Repeat("x\n", said-1) + "the end\n"})
		if got := strings.Count(out.String(), "\n"); got != shown || !strings.Contains(out.String(), "the end") {
			t.Errorf("%d lines are shown in %d, want %d:\n%s", said, got, shown, &out)
		}
		if left := strings.Contains(out.String(), "460 lines are left out"); left != (said == 500) {
			t.Errorf("of %d lines:\n%s", said, &out)
		}
	}
}

// TestRoomIsTried checks that the test of a disk writes as many bytes as the records need, and
// leaves no file.
func TestRoomIsTried(t *testing.T) {
	dir := t.TempDir()
	if f := checkRoom(dir); f.Health != laptop.Healthy {
		t.Errorf("%+v", f)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if f := checkRoom(filepath.Join(dir, "none")); f.Health != laptop.Failing || f.Message == "" || f.Next == "" {
		t.Errorf("nothing can be written, and it finds %+v", f)
	}
}

// TestRemoval checks what rm asks and says: of a container that was adopted, whether its files go.
func TestRemoval(t *testing.T) {
	adopted := keyway.Workspace{Container: "web", State: keyway.Running}
	own, dead := adopted, adopted
	own.Guest.Home = ownHome
	dead.Guest.Home, dead.State, dead.Reason, dead.Next = ownHome, keyway.Broken, "its container is dead", keyway.RemoveRest
	for name, c := range map[string]struct {
		w              keyway.Workspace
		question, said string
	}{
		"made":     {keyway.Workspace{State: keyway.Running}, "with all its files?", "removed"},
		"adopted":  {adopted, "Its container stays.", "removed, and left its container as it is:"},
		"own home": {own, "and the files in /.keyway/data/home?", "with the files in /.keyway/data/home"},
		"dead":     {dead, "the record of web?", "removed the record, and nothing in its container, since its container is dead:"},
	} {
		if question, said := removal("web", c.w); !strings.Contains(question, c.question) || !strings.Contains(said, c.said) {
			t.Errorf("%s: %q, %q", name, question, said)
		}
	}
}

// TestRemovedButNotForgotten checks that the error reports the removal of the workspace, and names
// the command that forgets it.
func TestRemovedButNotForgotten(t *testing.T) {
	full := keyway.Errorf(keyway.NoSpace, "no space left to write hosts.json").Hint("see what is full: df -h /home/ada")
	for _, why := range []error{full, errors.New("it cannot be written")} {
		e := keyway.AsError(halfRemoved("gpu1", "f1", why))
		if e.Kind != keyway.AsError(why).Kind || !strings.Contains(e.Message, "f1 is removed at gpu1") || !strings.HasSuffix(e.Next, "then: keyway forget f1") || strings.HasPrefix(e.Next, "\n") {
			t.Errorf("%+v", e)
		}
	}
}
