//go:build unix

package main

import (
	"context"
	"io"
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

// TestAskChild is not a test of its own: TestEnterBelongsToTheAnswer runs it as a process.
func TestAskChild(t *testing.T) {
	if os.Getenv(envAsks) == "" {
		return
	}
	err := askEnd("Stop train?")
	plain.Fprintf(os.Stdout, "answered: %v.\n", err == nil)
}

// TestEnterBelongsToTheAnswer checks that an Enter after y, at once or a little later, belongs to
// the answer. More input is pasted text, and no answer.
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

// TestMadeAnewWhereItWas checks that the advised command makes the same workspace again, at its
// place.
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

// TestInterruptedIsNoFailure checks that, after Ctrl-C, the error names the work that continues and
// does not report its failure.
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
		{asked{}.setupEnded("gpu1", "slow", sshFailed, false), 1, "before the end of its setup was known", "keyway ls gpu1/slow"},
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

// TestProcessesAreAdvisedWhereTheyCanBeHad checks that only errors of commands that accept plain
// processes advise them.
func TestProcessesAreAdvisedWhereTheyCanBeHad(t *testing.T) {
	for step, text := range sentences {
		if _, ok := withContainers[step]; strings.Contains(text, "--engine "+keyway.EngineWith(false)) != ok {
			t.Errorf("%s: %q", step, text)
		}
	}
	for step, text := range ofCommands {
		if _, ok := withContainers[step]; strings.Contains(text, "--engine "+keyway.EngineWith(false)) != ok {
			t.Errorf("%s: %q", step, text)
		}
	}
	for step, text := range withContainers {
		about := []string{"sudo a-b", "20.10"}[:valuesOf(text)]
		e := keyway.Errorf(keyway.EngineAbsent, "no").Advise(step, about...)
		for line, may := range map[string]bool{"up": true, "check": true, "adopt": false, "image copy": false, "start": false, "bake": false} {
			cmd, _, err := newRootCommand().Find(strings.Fields(line))
			if err != nil {
				t.Fatal(err)
			}
			got := nextOf(forEngines(cmd, e))
			if strings.Contains(got, "--engine "+keyway.EngineWith(false)) != may || !may && (got == "") != (text == "") {
				t.Errorf("keyway %s: %q", line, got)
			}
		}
	}
}

// TestAnImageIsBroughtToItsPlace checks that one command, typed on this laptop, brings a missing
// image to its place.
func TestAnImageIsBroughtToItsPlace(t *testing.T) {
	e := keyway.Errorf(keyway.ImageNotFound, "no").Advise(keyway.CopyImage, "debian:12")
	e.Host = "gpu1"
	if got := nextOf(e); !strings.Contains(got, "keyway image copy PLACE gpu1 debian:12") {
		t.Errorf("%q", got)
	}
}

// TestDriftOfWhatCannotBeReached checks that an environment that could not be compared is
// reported neither as absent nor as equal.
func TestDriftOfWhatCannotBeReached(t *testing.T) {
	var out, news strings.Builder
	d := drift{Template: "small", Lock: "keyway.lock", Errors: []*keyway.Error{keyway.Errorf(keyway.Unreachable, "gpu1 cannot be reached")}}
	if err := d.print(&out, &news); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "nothing differs") || strings.Contains(news.String(), "none runs") || !strings.Contains(news.String(), "cannot be reached") {
		t.Errorf("%q, %q", out.String(), news.String())
	}
}

// TestWhyATemplateCannotBeUsed checks that the list prints the complete reason, however long it is.
func TestWhyATemplateCannotBeUsed(t *testing.T) {
	why := strings.Repeat("/home/ada/a long way/", 30) + "keyway.yaml:3: the end"
	var out strings.Builder
	err := printTemplates([]templateRow{{Name: "small", Source: "repository", Wins: true, Error: keyway.Errorf(keyway.BadConfig, "%s", why)}}, &out)
	if err != nil || !strings.Contains(out.String(), "small of repository cannot be used: "+why+"\n") || !strings.Contains(out.String(), "see below\n") {
		t.Errorf("%v: %s", err, out.String())
	}
}

// TestYesOrNo checks that a question is repeated until the answer is yes or no, and that the end
// of the input means no.
func TestYesOrNo(t *testing.T) {
	for typed, want := range map[string]bool{
		"\n": true, "y\n": true, "YES\n": true, "n\n": false, "No\n": false, "": false, "maybe": false, "maybe\n": false,
		"maybe\ny\n": true, "yess\nn\n": false, "y": true,
	} {
		var again strings.Builder
		asks := strings.Contains(typed, "maybe\n") || strings.Contains(typed, "yess\n")
		if got := readYesNo(strings.NewReader(typed), &again, true); got != want || strings.Contains(again.String(), "yes or no?") != asks {
			t.Errorf("%q: %v, want %v; %q", typed, got, want, again.String())
		}
	}
	for typed, want := range map[string]bool{"\n": false, "y\n": true, "n\n": false, "": false, "maybe\n\n": false, "maybe\ny\n": true} {
		if got := readYesNo(strings.NewReader(typed), io.Discard, false); got != want {
			t.Errorf("%q, where Enter is no: %v", typed, got)
		}
	}
	if one, two := theyRun([]string{"train"}), theyRun([]string{"srv", "train"}); one != "train runs." || two != "srv, train run." {
		t.Errorf("%q, %q", one, two)
	}
}

// TestConfirmEndReportsQuestion checks that a workspace is listed again only after a question.
func TestConfirmEndReportsQuestion(t *testing.T) {
	for name, c := range map[string]struct {
		jobs []string
		yes  bool
	}{"nothing runs": {nil, false}, "answered already": {[]string{"train"}, true}} {
		if asked, err := confirmEnd(c.jobs, nil, "Stop train?", c.yes); asked || err != nil {
			t.Errorf("%s: asked is %v, %v", name, asked, err)
		}
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestConfirmEndChild$")
	child.Env = append(os.Environ(), envAsks+"=1")
	if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "asked: true, false.") {
		t.Errorf("a job runs: %v, %s", err, out)
	}
}

// TestConfirmEndChild is not a test of its own: TestConfirmEndReportsQuestion runs it as the
// process that asks. Its standard error is no terminal, so no user answers.
func TestConfirmEndChild(t *testing.T) {
	if os.Getenv(envAsks) == "" {
		return
	}
	asked, err := confirmEnd([]string{"train"}, nil, "Stop train?", false)
	plain.Fprintf(os.Stdout, "asked: %v, %v.\n", asked, err == nil)
}
