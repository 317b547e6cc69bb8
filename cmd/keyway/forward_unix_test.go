//go:build unix

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/template"
)

// envForwards makes the test binary decide whether the agent is forwarded, and print it.
const envForwards = "KEYWAY_TEST_FORWARDS"

// repositoryAsks returns a repository's template that asks for the agent.
func repositoryAsks() asked {
	a := asked{from: template.Template{Name: "w", Source: template.Repository, File: "keyway.yaml"}}
	a.Spec.ForwardAgent = true
	return a
}

// TestForwardChild is not a test of its own: TestARepositoryGetsTheAgentIfTold runs it as a
// process.
func TestForwardChild(t *testing.T) {
	if os.Getenv(envForwards) == "" {
		return
	}
	yes, err := upOptions{}.forwards(context.Background(), repositoryAsks(), os.Stderr)
	plain.Fprintf(os.Stdout, "forwarded: %v, %v.\n", yes, err == nil)
}

// TestARepositoryGetsTheAgentIfTold checks that a repository's template gets the agent only if the
// user consents on the command line or when asked, because the repository may belong to anybody.
func TestARepositoryGetsTheAgentIfTold(t *testing.T) {
	for _, source := range []template.Source{template.Repository, template.Mine, template.Place, template.BuiltIn, ""} {
		for _, told := range []bool{true, false} {
			a := repositoryAsks()
			a.from.Source = source
			yes, err := upOptions{forward: forwardOption{yes: told, said: true}}.forwards(t.Context(), a, io.Discard)
			if yes != told || err != nil {
				t.Errorf("%q, told %v: %v, %v", source, told, yes, err)
			}
		}
	}
	mine := repositoryAsks()
	mine.from.Source = template.Mine
	if yes, err := (upOptions{}).forwards(t.Context(), mine, io.Discard); !yes || err != nil {
		t.Errorf("the user's own template: %v, %v", yes, err)
	}
	if yes, err := (upOptions{}).forwards(t.Context(), asked{}, io.Discard); yes || err != nil {
		t.Errorf("nobody asks for it: %v, %v", yes, err)
	}
	for typed, want := range map[string]string{"y\n": "true, true", "n\n": "false, true", "\n": "false, true"} {
		if said := answerForward(t, typed); !strings.Contains(said, "forwarded: "+want+".") {
			t.Errorf("%q is typed: want %s:\n%s", typed, want, said)
		}
	}
}

// answerForward types an answer at the question, and returns the terminal's text.
func answerForward(t *testing.T, typed string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestForwardChild$")
	cmd.Env = append(os.Environ(), envForwards+"=1")
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop()
	var said bytes.Buffer
	answered := false
	for buf := make([]byte, 4096); ; {
		n, err := tty.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			break
		}
		if !answered && strings.Contains(said.String(), "Forward it? [y/N] ") {
			answered = true
			io.WriteString(tty, typed)
		}
	}
	cmd.Wait()
	return said.String()
}

// TestARepositoryAsksForTheAgentWithoutATerminal checks that up without a terminal makes nothing of
// such a template, and that the error names the option to type.
func TestARepositoryAsksForTheAgentWithoutATerminal(t *testing.T) {
	home := lyingPlace(t)
	dir := filepath.Join(home, "repo")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "keyway.yaml"), "services: {w: {image: busybox, x-keyway: {forward_agent: true}}}\n", 0o600)
	up := func(args ...string) (string, int) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"up", "w"}, args...)...)
		cmd.Dir = dir
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	said, code := up("--on", "gpu1")
	if code != keyway.ExitCode(keyway.Errorf(keyway.NeedsAnswer, "")) || !strings.Contains(said, "--forward-agent=false") || !strings.Contains(said, "keyway.yaml has your agent forwarded") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
}
