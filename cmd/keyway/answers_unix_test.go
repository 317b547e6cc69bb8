//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"keyway/internal/keyway"
	"keyway/internal/pin"
	"keyway/internal/plain"
	"keyway/internal/template"
)

// envAsks makes the test binary ask a question, and print the answer.
const envAsks = "KEYWAY_TEST_ASKS"

// TestAskChild is the process of TestEnterBelongsToTheAnswer.
func TestAskChild(t *testing.T) {
	if os.Getenv(envAsks) == "" {
		return
	}
	err := askEnd("Stop train?")
	plain.Fprintf(os.Stdout, "answered: %v.\n", err == nil)
}

// People press Enter after y, at once or a little later. More than that is pasted text, and no
// answer.
func TestEnterBelongsToTheAnswer(t *testing.T) {
	for typed, want := range map[string]bool{
		"y": true, "Y": true, "y\r": true, "y\n": true, "n": false, "n\r": false, "\r": false, "\x03": false, "\r\r": false,
		"yy": false, "yes": false, "y\r\r": false, "y\rrm -rf x\r": false, "\x1by": false, "y " + strings.Repeat("x", 99): false,
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAskChild$")
		cmd.Env = append(os.Environ(), envAsks+"=1")
		tty, err := pty.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		said, asked := &strings.Builder{}, false
		stop := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		for buf := make([]byte, 4096); ; {
			n, err := tty.Read(buf)
			said.Write(buf[:n])
			if err != nil {
				break
			}
			if !asked && strings.Contains(said.String(), "(one key) ") {
				asked = true
				tty.WriteString(typed)
			}
		}
		cmd.Wait()
		stop.Stop()
		tty.Close()
		if got := strings.Contains(said.String(), "answered: true."); got != want || !strings.Contains(said.String(), "answered: ") {
			t.Errorf("%q is yes: %v, want %v:\n%s", typed, got, want, said)
		}
		if want && !strings.Contains(said.String(), "(one key) "+typed[:1]+"\r\n") {
			t.Errorf("%q is not shown:\n%s", typed, said)
		}
	}
}

// What is typed to have a workspace anew makes the same one, at its place.
func TestMadeAnewWhereItWas(t *testing.T) {
	const want = "keyway rm ada@gpu1/s3 && keyway up 'small one' --on ada@gpu1 --name s3"
	a := asked{from: template.Template{Name: "small one", File: "keyway.yaml"}}
	failed := a.setupEnded("ada@gpu1", "s3", 7, false)
	differs := drift{Template: "small one", Compared: []string{"ada@gpu1/s3"}, Differences: []pin.Difference{{Where: "ada@gpu1/s3", Field: "env"}}}
	for _, got := range []string{keyway.AsError(failed).Next, differs.mend()} {
		if !strings.Contains(got, want) {
			t.Errorf("%q, want in it %q", got, want)
		}
		if faults := untypable(got); len(faults) > 0 {
			t.Error(faults)
		}
	}
}

// After Ctrl-C, what goes on is named and is no failure of it.
func TestInterruptedIsNoFailure(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if !wasInterrupted(ended) || wasInterrupted(t.Context()) {
		t.Error("which context has ended is not told")
	}
	for _, c := range []struct {
		err        error
		code       int
		says, next string
	}{
		{asked{}.setupEnded("gpu1", "slow", interrupted, true), 130, "slow is up, and its setup goes on", "keyway logs -f gpu1/slow/setup"},
		{asked{}.setupEnded("gpu1", "slow", interrupted, false), 1, "its setup failed with 130", "keyway logs gpu1/slow/setup"},
		{asked{}.setupEnded("gpu1", "slow", sshFailed, false), 1, "is not known here", "keyway ls gpu1/slow"},
		{leftStarting("train", "jupyter", "jupyter-keep"), 130, "interrupted; jupyter runs as train/jupyter-keep", "keyway kill train/jupyter-keep"},
		{leftStarting("train", "tensorboard", ""), 130, "interrupted before tensorboard was there", "keyway ls train"},
	} {
		e := keyway.AsError(c.err)
		if keyway.ExitCode(e) != c.code || !strings.Contains(e.Message, c.says) || !strings.Contains(e.Next, c.next) {
			t.Errorf("%d %q %q, want %d %q %q", keyway.ExitCode(e), e.Message, e.Next, c.code, c.says, c.next)
		}
		if faults := untypable(e.Next); len(faults) > 0 {
			t.Error(faults)
		}
	}
}
