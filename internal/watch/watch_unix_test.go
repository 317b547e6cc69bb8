//go:build unix

package watch

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheUsersCommandIsToldOfTheEnd(t *testing.T) {
	dir := t.TempDir()
	config, out := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "out")
	script := `echo "$KEYWAY_WORKSPACE/$KEYWAY_SESSION $KEYWAY_EXIT_CODE $KEYWAY_RESULT $KEYWAY_COMMAND" >` + out
	if err := os.WriteFile(config, []byte("on-exit: [sh, -c, '"+script+"']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	Teller(t.Context(), config, quiet)(Job{Workspace: "train", Session: "exp7", Command: "python 'x y'"}, End{Code: 2})
	got, err := os.ReadFile(out)
	if err != nil || string(got) != "train/exp7 2 failed with exit code 2 python 'x y'\n" {
		t.Errorf("%q, %v", got, err)
	}
}
