package main

import (
	"slices"
	"testing"

	"keyway/internal/keyway"
	"keyway/internal/session/option"
)

func TestJobWordsHaveOneOrder(t *testing.T) {
	for _, args := range [][]string{{"-dtT", "--as=a", "--on-exit", "b"}, {"--on-exit=b", "--as", "a", "-T", "--tty", "--detach", "--clipboard=false"}} {
		cmd := newRunCommand()
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		want := []string{"-d", "--as", "a", "--on-exit", "b", "-t", "-T"}
		if got := givenOptions(cmd.Flags(), option.Run()); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// What comes after the stroke is a job's name, and no option of the command there.
func TestJobNames(t *testing.T) {
	for arg, want := range map[string]struct{ name, session string }{
		"train": {"train", ""}, "train/exp7": {"train", "exp7"}, "train/exp7.1": {"train", "exp7.1"},
	} {
		if name, session, err := splitSession(arg); name != want.name || session != want.session || err != nil {
			t.Errorf("%s: %q, %q, %v", arg, name, session, err)
		}
	}
	for _, arg := range []string{"train/", "train/--help", "train/-h", "train/a/b", "train/..", "train/Exp", "train/\x1b[m", "train/a b", "/", "//"} {
		if name, session, err := splitSession(arg); !keyway.Is(err, keyway.Usage) {
			t.Errorf("%q: %q, %q, %v", arg, name, session, err)
		}
	}
}
