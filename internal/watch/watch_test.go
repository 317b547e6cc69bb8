package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"keyway/internal/keyway"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// start runs a watcher. The returned function ends it and waits for its end.
func start(dir string, wait Waiter, tell func(Job, End)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { Run(ctx, dir, wait, tell, quiet) })
	return func() { cancel(); done.Wait() }
}

func TestAJobIsWaitedForAcrossRestarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jobs")
	job := Job{Workspace: "train", Session: "exp7", Command: "python train.py"}
	if err := Add(dir, job); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan Job)
	forever := func(ctx context.Context, j Job) (Report, error) {
		select {
		case waiting <- j:
		case <-ctx.Done(): // it may be asked once more at the end
		}
		<-ctx.Done()
		return Report{}, ctx.Err()
	}
	stop := start(dir, forever, func(Job, End) { t.Error("told although it has not ended") })
	if got := <-waiting; got != job {
		t.Errorf("waits for %+v", got)
	}
	stop()
	told := make(chan End)
	ended := func(_ context.Context, j Job) (Report, error) { return Report{Ends: []Ended{{j, End{Code: 3}}}}, nil }
	stop = start(dir, ended, func(_ Job, e End) { told <- e })
	if e := <-told; e.Code != 3 {
		t.Errorf("told %+v", e)
	}
	stop()
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("what was told of stays on the list: %v, %v", files, err)
	}
}

func TestWhatIsGoneOrIsNoJobIsForgotten(t *testing.T) {
	dir := t.TempDir()
	if err := Add(dir, Job{Workspace: "train", Session: "gone"}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"x.json": "{}", "a@b.json": `{"workspace":"c","session":"b"}`, "-@-.json": `{"workspace":"-","session":"-"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	asked := make(chan struct{}, 10)
	stop := start(dir, func(context.Context, Job) (Report, error) { asked <- struct{}{}; return Report{}, ErrGone }, nil)
	<-asked
	stop()
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 || len(asked) != 0 {
		t.Errorf("left: %v, %v; asked for %d more", files, err, len(asked))
	}
}

// TestForget checks that no job of a removed workspace stays on the list, even if a report of one
// arrives at that moment, and that no end is reported.
func TestForget(t *testing.T) {
	dir := t.TempDir()
	for _, j := range []Job{{Workspace: "train", Session: "exp7"}, {Workspace: "train-2", Session: "exp7"}} {
		if err := Add(dir, j); err != nil {
			t.Fatal(err)
		}
	}
	if err := AddCells(dir, "train", "jupyter"); err != nil {
		t.Fatal(err)
	}
	asked, forgotten := make(chan Job, 10), make(chan struct{})
	wait := func(ctx context.Context, j Job) (Report, error) {
		asked <- j
		select {
		case <-forgotten:
		case <-ctx.Done():
			return Report{}, ctx.Err()
		}
		next := j
		next.Seen++
		return Report{Ends: []Ended{{j, End{}}}, Next: &next}, nil
	}
	told := make(chan Job, 10)
	stop := start(dir, wait, func(j Job, _ End) { told <- j })
	for range 3 {
		<-asked
	}
	if err := Forget(dir, "train"); err != nil {
		t.Fatal(err)
	}
	close(forgotten)
	if j := <-told; j.Workspace != "train-2" {
		t.Errorf("told of %+v", j)
	}
	stop()
	close(told)
	for j := range told {
		if j.Workspace != "train-2" {
			t.Errorf("told of %+v", j)
		}
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 1 || filepath.Base(files[0]) != "train-2@exp7.json" {
		t.Errorf("on the list: %v, %v", files, err)
	}
	if err := Forget(filepath.Join(dir, "none"), "train"); err != nil {
		t.Error(err)
	}
}

func TestAConnectionThatFailsIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	if err := Add(dir, Job{Workspace: "train", Session: "exp7"}); err != nil {
		t.Fatal(err)
	}
	tries := 0
	told := make(chan struct{})
	stop := start(dir, func(_ context.Context, j Job) (Report, error) {
		if tries++; tries == 1 {
			return Report{}, errors.New("no way there")
		}
		return Report{Ends: []Ended{{j, End{}}}}, nil
	}, func(Job, End) { close(told) })
	<-told
	stop()
}

// TestCellsAreWaitedForAcrossRestarts checks that each cell is reported once when it ends, also by
// the next process.
func TestCellsAreWaitedForAcrossRestarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jobs")
	for range 2 { // the second time changes nothing
		if err := AddCells(dir, "train", "jupyter"); err != nil {
			t.Fatal(err)
		}
	}
	if err := Add(dir, Job{Workspace: "train", Session: "jupyter"}); err != nil { // a later job of that name is another one
		t.Fatal(err)
	}
	told, left := make(chan string), make(chan struct{})
	cell := func(ctx context.Context, j Job) (Report, error) {
		next, end := j, j
		if next.Seen++; !j.Cells || j.Seen == 1 {
			if j.Cells {
				select {
				case left <- struct{}{}:
				case <-ctx.Done(): // it may be asked once more at the end
				}
			}
			<-ctx.Done()
			return Report{}, ctx.Err()
		}
		end.Command = fmt.Sprint("cell ", next.Seen)
		return Report{Ends: []Ended{{end, End{Code: 1, Cell: true}}}, Next: &next}, nil
	}
	for range 2 {
		stop := start(dir, cell, func(j Job, e End) { told <- fmt.Sprint(j.Session, " ", j.Command, " ", e) })
		select {
		case got := <-told:
			if got != "jupyter cell 0 failed" {
				t.Errorf("told %q", got)
			}
			if got := <-told; got != "jupyter cell 1 failed" {
				t.Errorf("told %q", got)
			}
			<-left
		case <-left:
		}
		stop()
	}
	if j, err := read(Job{Workspace: "train", Session: "jupyter", Cells: true}.path(dir)); err != nil || j.Seen != 1 {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestHowAJobEnded(t *testing.T) {
	for want, e := range map[string]End{
		"finished":                        {},
		"failed with exit code 3":         {Code: 3},
		"ended by SIGTERM":                {Code: 143, Signal: "SIGTERM"},
		"out of memory (SIGKILL)":         {Code: 137, Signal: "SIGKILL", OOM: true},
		"lost: the workspace was stopped": {Code: -1, Reason: "the workspace was stopped"},
		"failed":                          {Code: 1, Cell: true},
		"failed with exit code 4":         {Code: 4, Reason: "ended by keyway kill"},
	} {
		if got := e.String(); got != want {
			t.Errorf("%+v: %q, want %q", e, got, want)
		}
	}
}

func TestConfig(t *testing.T) {
	if c, err := ReadConfig(filepath.Join(t.TempDir(), "none")); err != nil || len(c.OnExit) != 0 {
		t.Errorf("no file: %+v, %v", c, err)
	}
	for text, want := range map[string]string{
		"": "", "# nothing\n": "", "on-exit: [mail, -s, done, me@example.org]\n": "mail -s done me@example.org",
	} {
		if c, err := parseConfig([]byte(text)); err != nil || strings.Join(c.OnExit, " ") != want {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	if c, err := parseConfig([]byte("clipboard: true\n")); err != nil || !c.Clipboard {
		t.Errorf("the clipboard: %+v, %v", c, err)
	}
	for _, text := range []string{"clipboard: [x]\n", "on-exit: mail\n", "onexit: [x]\n", "on-exit: ['']\n", "- x\n", "on-exit: [" + strings.Repeat("x,", 200) + "]\n"} {
		if c, err := parseConfig([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, c)
		}
	}
	bad := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(bad, []byte("on-exit: 3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig(bad); !keyway.Is(err, keyway.BadConfig) {
		t.Error(err)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("on-exit: [sh, -c, x]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parseConfig(data); err == nil && len(c.OnExit) > maxWords {
			t.Fatalf("%d words", len(c.OnExit))
		}
	})
}

// TestNotificationsAreNoScripts checks that no shell reads a job's name or its end.
func TestNotificationsAreNoScripts(t *testing.T) {
	const evil = `"; touch /tmp/x; $(id) '`
	argv, env := desktop(evil, evil)
	for _, word := range append(argv, env...) {
		if strings.Contains(word, evil) && word != evil && !strings.HasPrefix(word, "KEYWAY_") {
			t.Errorf("%q is part of %q", evil, word)
		}
	}
}
