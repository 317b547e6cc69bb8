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

// TestJobNames checks that the word after the last slash is a job's name and never an option,
// unless it is the name of a workspace after its place.
func TestJobNames(t *testing.T) {
	known := func(w string) bool { return w == "train" || w == "gpu1/train" }
	for arg, want := range map[string][2]string{
		"train": {"train", ""}, "train/exp": {"train", "exp"}, "gpu1/train": {"gpu1/train", ""}, "gpu1/train/exp7.1": {"gpu1/train", "exp7.1"},
		"train/train": {"train", "train"}, "gone": {"gone", ""}, "gone/exp": {"gone", "exp"}, "gpu2/train/exp": {"gpu2/train", "exp"},
	} {
		if name, session, err := splitSession(arg, known); [2]string{name, session} != want || err != nil {
			t.Errorf("%s: %q, %q, %v", arg, name, session, err)
		}
	}
	for _, arg := range []string{"train/", "gpu1/train/", "train/--help", "train/-h", "train/..", "train/Exp", "train/\x1b[m", "train/a b", "/", "//"} {
		if name, session, err := splitSession(arg, known); !keyway.Is(err, keyway.Usage) {
			t.Errorf("%q: %q, %q, %v", arg, name, session, err)
		}
	}
}
