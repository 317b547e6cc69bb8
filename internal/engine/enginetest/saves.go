//go:build linux

package enginetest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// runsSave stops a workspace, by its engine and by the platform's own means, in which five
// training runs have terminals and five have pipes. All save before they end.
func runsSave(t *testing.T, s Subject) {
	w := s.Create(t, s.Spec(t, "saves"))
	ends := map[string]func(context.Context) error{
		"stopped": func(ctx context.Context) error { return s.Engine.Stop(ctx, w.Name, keyway.DefaultGrace) },
		"outside": func(ctx context.Context) error { return s.StopOutside(ctx, w.Name) },
	}
	// How long one stop gives is not how long the next one does.
	if err := s.Engine.Stop(Context(t), w.Name, 0); err != nil {
		t.Fatal(Full(err))
	}
	s.Await(t, w.Name, keyway.Stopped)
	if err := s.Engine.Start(Context(t), w.Name); err != nil {
		t.Fatal(Full(err))
	}
	for how, end := range ends {
		files := s.beginRuns(t, w, how)
		s.awaitFiles(t, w, files, "training")
		if err := end(Context(t)); err != nil {
			t.Fatalf("%s: %v", how, Full(err))
		}
		s.Await(t, w.Name, keyway.Stopped)
		if err := s.Engine.Start(Context(t), w.Name); err != nil {
			t.Fatalf("Start: %v", Full(err))
		}
		if got, err := s.Try(t, w, "cat "+strings.Join(files, " ")); got != strings.Repeat("saved", len(files)) {
			t.Errorf("%s: the runs saved %q: %v", how, got, err)
		}
	}
}

// GraceUntold stops the workspace untold where the file for the grace cannot be written: a stop with
// more than the default grace, which its jobs would not have, is refused, and any other is not.
// home is where the node finds its Home.
func (s Subject) GraceUntold(t *testing.T, home keyway.Home) {
	w := s.Create(t, s.Spec(t, "untold"))
	if err := os.Mkdir(home.GraceFile(), 0o700); err != nil {
		t.Fatal(err)
	}
	err := s.Engine.Stop(Context(t), w.Name, keyway.DefaultGrace+time.Second)
	if err == nil || !strings.Contains(err.Error(), "killed after 30s instead of 31s") {
		t.Errorf("Stop: %v", err)
	}
	if got, err := s.Try(t, w, "env "+keyway.EnvName); got != "untold" || err != nil {
		t.Errorf("after that it says %q, %v", got, err)
	}
	if err := s.Engine.Stop(Context(t), w.Name, keyway.DefaultGrace); err != nil {
		t.Fatal(Full(err))
	}
	s.Await(t, w.Name, keyway.Stopped)
}

// beginRuns starts training runs and returns the files that they save to.
func (s Subject) beginRuns(t *testing.T, w keyway.Workspace, how string) (files []string) {
	t.Helper()
	home, client := s.Run(t, w, "env "+keyway.EnvHome), s.Client(t, w)
	for i := range 5 {
		for _, way := range []struct{ name, option string }{{"terminal", "-t"}, {"pipes", "-T"}} {
			session, err := client.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			job := fmt.Sprintf("%s-%s-%d", how, way.name, i)
			files = append(files, home+"/"+job)
			run := fmt.Sprintf("keyway run -d %s --as %s -- %s train %s/%s", way.option, job, s.Tool, home, job)
			if out, err := session.CombinedOutput(run); err != nil {
				t.Fatalf("%s: %v: %s", job, err, out)
			}
		}
	}
	return files
}

// awaitFiles returns when all files hold a text.
func (s Subject) awaitFiles(t *testing.T, w keyway.Workspace, files []string, text string) {
	t.Helper()
	ctx := Context(t)
	for {
		got, err := s.Try(t, w, "cat "+strings.Join(files, " "))
		if got == strings.Repeat(text, len(files)) {
			return
		}
		if sleep.For(ctx, 20*time.Millisecond) != nil {
			t.Fatalf("the files hold %q: %v", got, err)
		}
	}
}
