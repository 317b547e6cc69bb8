//go:build unix

package watch

import (
	"context"
	"encoding/json"
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

// TestAJobThatCannotBeReadStays checks that such a job stays on the list, and is watched once it
// can be read.
func TestAJobThatCannotBeReadStays(t *testing.T) {
	dir := t.TempDir()
	job := Job{Workspace: "train", Session: "exp7"}
	later := filepath.Join(dir, "later")
	if err := os.Symlink(later, job.path(dir)); err != nil {
		t.Fatal(err)
	}
	waited := make(chan Job, 1)
	w := &watcher{dir: dir, log: quiet, jobs: map[string]bool{}, wait: func(_ context.Context, j Job) (Report, error) {
		waited <- j
		return Report{}, ErrGone
	}}
	w.look(t.Context())
	if _, err := os.Lstat(job.path(dir)); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(later, data, 0o600); err != nil {
		t.Fatal(err)
	}
	w.look(t.Context())
	if got := <-waited; got != job {
		t.Errorf("waits for %+v", got)
	}
	w.all.Wait()
}
