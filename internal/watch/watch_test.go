package watch

import (
	"context"
	"errors"
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

// start runs a watcher; what it returns ends it and waits.
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
	forever := func(ctx context.Context, j Job) (End, error) {
		waiting <- j
		<-ctx.Done()
		return End{}, ctx.Err()
	}
	stop := start(dir, forever, func(Job, End) { t.Error("told although it has not ended") })
	if got := <-waiting; got != job {
		t.Errorf("waits for %+v", got)
	}
	stop()
	told := make(chan End)
	ended := func(context.Context, Job) (End, error) { return End{Code: 3}, nil }
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
	stop := start(dir, func(context.Context, Job) (End, error) { asked <- struct{}{}; return End{}, ErrGone }, nil)
	<-asked
	stop()
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 || len(asked) != 0 {
		t.Errorf("left: %v, %v; asked for %d more", files, err, len(asked))
	}
}

func TestAConnectionThatFailsIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	if err := Add(dir, Job{Workspace: "train", Session: "exp7"}); err != nil {
		t.Fatal(err)
	}
	tries := 0
	told := make(chan struct{})
	stop := start(dir, func(context.Context, Job) (End, error) {
		if tries++; tries == 1 {
			return End{}, errors.New("no way there")
		}
		return End{}, nil
	}, func(Job, End) { close(told) })
	<-told
	stop()
}

func TestHowAJobEnded(t *testing.T) {
	for want, e := range map[string]End{
		"finished":                        {},
		"failed with exit code 3":         {Code: 3},
		"ended by SIGTERM":                {Code: 143, Signal: "SIGTERM"},
		"out of memory (SIGKILL)":         {Code: 137, Signal: "SIGKILL", OOM: true},
		"lost: the workspace was stopped": {Code: -1, Reason: "the workspace was stopped"},
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

// Whatever a job is called and however it ended, no shell reads it.
func TestNotificationsAreNoScripts(t *testing.T) {
	const evil = `"; touch /tmp/x; $(id) '`
	argv, env := desktop(evil, evil)
	for _, word := range append(argv, env...) {
		if strings.Contains(word, evil) && word != evil && !strings.HasPrefix(word, "KEYWAY_") {
			t.Errorf("%q is part of %q", evil, word)
		}
	}
}
