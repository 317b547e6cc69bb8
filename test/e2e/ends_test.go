//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"keyway/test/lab"
)

// trainer is a training run that saves when it is told to end.
const trainer = "../../internal/session/words/testdata/train.py"

// ways are the destinations of a job's output, with the option for each.
var ways = map[string]string{"terminal": "-t", "pipes": "-T"}

// container returns the name of a workspace's container at gpu1.
func (w *world) container(t *testing.T, workspace string) string {
	t.Helper()
	name, err := w.Docker("ps", "-a", "--filter", "label=dev.keyway.name="+workspace, "--format", "{{.Names}}")
	if err != nil || name == "" || strings.Contains(name, "\n") {
		t.Fatalf("the container of %s: %q, %v", workspace, name, err)
	}
	return name
}

// upWithTrainer makes a workspace of a user who is not root, with the trainer in it.
func (w *world) upWithTrainer(t *testing.T, name string) {
	t.Helper()
	w.up(t, name, "--image", string(lab.NonRoot))
	program, err := os.ReadFile(trainer)
	if err != nil {
		t.Fatal(err)
	}
	w.mustFeed(t, string(program), "ssh", name, "cat >/tmp/train.py")
}

// TestTrainingRunsSave ends training runs ten times in each way that runs are ended, with a
// terminal and without. It checks that each run saves its state.
func TestTrainingRunsSave(t *testing.T) {
	w := shared
	const name = "saves"
	w.upWithTrainer(t, name)
	container := w.container(t, name)
	dockerStop := func() {
		if out, err := w.Docker("stop", container); err != nil {
			t.Fatal(out, err)
		}
		w.must(t, "keyway", "start", name)
	}
	limited := "timeout --foreground -s TERM 2 "
	for _, end := range []struct {
		what, prefix string
		do           func(jobs []string)
	}{
		{"kill", "", func(jobs []string) { w.must(t, append([]string{"keyway", "kill"}, jobs...)...) }},
		{"stop", "", func([]string) { w.must(t, "keyway", "stop", name); w.must(t, "keyway", "start", name) }},
		{"docker", "", func([]string) { dockerStop() }},
		{"limit", limited, func(jobs []string) {
			for _, job := range jobs {
				w.do("keyway", "wait", job)
			}
		}},
	} {
		begun := time.Now()
		for round := range 10 {
			var jobs []string
			for way, tty := range ways {
				job := fmt.Sprintf("%s-%s-%d", end.what, way, round)
				w.must(t, "keyway", "run", name, "-d", tty, "--as", job, "--", "sh", "-c", "exec "+end.prefix+"python3 /tmp/train.py /tmp/"+job)
				follow := w.command("keyway", "logs", "-f", name+"/"+job)
				w.background(t, "training", follow)
				jobs = append(jobs, name+"/"+job)
			}
			end.do(jobs)
			for _, job := range jobs {
				file := "/tmp/" + strings.TrimPrefix(job, name+"/")
				if r := w.do("ssh", name, "cat "+file); r.Stdout != "saved" {
					t.Errorf("%s, round %d: it saved %q; %s%s", job, round, r.Stdout, w.must(t, "keyway", "logs", job), w.must(t, "keyway", "ls", name))
				}
			}
		}
		t.Logf("%s: %v", end.what, time.Since(begun))
	}
}

// TestEveryEndReachesWhoWaits checks that waiting commands notice when their workspace is stopped
// from elsewhere.
func TestEveryEndReachesWhoWaits(t *testing.T) {
	t.Parallel()
	w := shared
	const name = "ends"
	w.up(t, name, "--image", string(lab.NonRoot))
	stop := map[string]func(){
		"keyway": func() { w.must(t, "keyway", "stop", name) },
		"docker": func() {
			if out, err := w.Docker("stop", w.container(t, name)); err != nil {
				t.Fatal(out, err)
			}
		},
	}
	for how, end := range stop {
		type waiting struct {
			cmd  *exec.Cmd
			what string
			code int
		}
		var all []waiting
		for _, c := range []struct {
			job, script string
			code        int
		}{
			{"plain", "echo begun; exec sleep 1000", 143},
			{"own", "trap 'exit 5' TERM; echo begun; while :; do sleep 0.1; done", 5},
		} {
			for way, tty := range ways {
				job := how + "-" + c.job + "-" + way
				cmd := w.command("keyway", "run", name, tty, "--as", job, "--", "sh", "-c", c.script)
				w.background(t, "begun", cmd)
				all = append(all, waiting{cmd, "run " + job, c.code})
				wait := w.command("keyway", "wait", name+"/"+job)
				if err := wait.Start(); err != nil {
					t.Fatal(err)
				}
				all = append(all, waiting{wait, "wait " + job, c.code})
			}
		}
		w.awaitWaiters(t, name, 4)
		end()
		for _, x := range all {
			_ = x.cmd.Wait()
			if code := x.cmd.ProcessState.ExitCode(); code != x.code {
				t.Errorf("%s: %s exits with %d, want %d", how, x.what, code, x.code)
			}
		}
		w.must(t, "keyway", "start", name)
	}
}

// awaitWaiters returns when n commands wait for jobs inside a workspace.
func (w *world) awaitWaiters(t *testing.T, name string, n int) {
	t.Helper()
	w.awaitInside(t, name, "'keyway wait '*", n)
}

// awaitInside returns when a workspace has n processes whose command lines match a pattern of sh.
func (w *world) awaitInside(t *testing.T, name, pattern string, n int) {
	t.Helper()
	count := `n=0; for f in /proc/[0-9]*/cmdline; do case "$(tr '\0' ' ' <$f 2>/dev/null)" in ` + pattern + `) n=$((n+1));; esac; done; echo $n`
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		got, err := strconv.Atoi(strings.TrimSpace(w.must(t, "ssh", name, count)))
		if err == nil && got >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d processes of %s are %s, want %d: %s", got, name, pattern, n, w.must(t, "ssh", name, "ps -ef"))
		}
	}
}

// TestPausedWorkspacesAreToldAtOnce checks that every command reports at once that a workspace is
// paused and cannot answer.
func TestPausedWorkspacesAreToldAtOnce(t *testing.T) {
	t.Parallel()
	w := shared
	const name = "frozen"
	w.upWithTrainer(t, name)
	w.must(t, "keyway", "run", name, "-d", "-T", "--as", "job", "--", "python3", "/tmp/train.py", "/tmp/saved")
	w.background(t, "training", w.command("keyway", "logs", "-f", name+"/job"))
	if out, err := w.Docker("pause", w.container(t, name)); err != nil {
		t.Fatal(out, err)
	}
	for _, argv := range [][]string{
		{"keyway", "run", name, "--", "true"}, {"keyway", "wait", name + "/job"}, {"keyway", "ls", name}, {"keyway", "kill", name + "/job"},
	} {
		begun := time.Now()
		r := w.do(argv...)
		if r.Code != 31 || !strings.Contains(r.Stderr, "paused") || !strings.Contains(r.Stderr, "keyway start gpu1/"+name) || time.Since(begun) > time.Minute {
			t.Errorf("after %v: %s", time.Since(begun), r)
		}
	}
	w.must(t, "keyway", "stop", name)
	w.must(t, "keyway", "start", name)
	equal(t, "what the job saved when a paused workspace was stopped", w.must(t, "ssh", name, "cat /tmp/saved"), "saved")
}

// TestStopAndRmAsk checks that stop and rm name the running jobs and ask at a terminal, and do not
// ask elsewhere.
func TestStopAndRmAsk(t *testing.T) {
	t.Parallel()
	w := shared
	const name = "asks"
	w.must(t, "keyway", "up", "--on", "gpu1", "--name", name, "--image", string(lab.NonRoot))
	begin := func(job, script string) {
		w.must(t, "keyway", "run", name, "-d", "-T", "--as", job, "--", "sh", "-c", script)
		w.background(t, "begun", w.command("keyway", "logs", "-f", name+"/"+job))
	}
	begin("exp7", "echo begun; exec sleep 1000")
	begin("exp8", "echo begun; exec sleep 1000")
	v := w.openTerminal(t, 120, 30)
	for _, command := range []string{"stop", "rm"} {
		for _, answer := range []string{"n", "\r", "\x03"} {
			v.begin("keyway " + command + " " + name + "; echo left with $?")
			v.await("[y/N]")
			for _, job := range []string{"exp7", "exp8"} {
				holds(t, "the question", v.shown(), job)
			}
			v.typeIn(answer)
			v.await("left with 130")
			holds(t, "the answer", v.shown(), "nothing was changed")
		}
	}
	equal(t, "state", state(t, w, name).State, "running")
	v.begin("keyway stop " + name + "; echo left with $?")
	v.await("[y/N]")
	v.typeIn("y")
	v.await("left with 0")
	holds(t, "what is said while it stops", v.shown(), "may take 30s to end; Ctrl-C twice kills at once")
	holds(t, "the first start", w.must(t, "sh", "-c", "keyway start "+name+" 2>&1"), "started "+name)
	holds(t, "the second start", w.must(t, "sh", "-c", "keyway start "+name+" 2>&1"), "runs already: "+name)

	begin("deaf", `trap "" TERM; echo begun; while :; do sleep 1000; done`)
	v.begin("keyway stop --yes --grace 30m " + name + "; echo left with $?")
	v.await("may take 30m0s to end")
	v.typeIn("\x03")
	v.await("Ctrl-C again kills it")
	equal(t, "state after one Ctrl-C", state(t, w, name).State, "running")
	v.typeIn("\x03")
	v.await("killing what is left")
	v.await("left with 0")
	equal(t, "state", state(t, w, name).State, "stopped")
	w.must(t, "keyway", "start", name)

	begin("last", "echo begun; exec sleep 1000")
	w.must(t, "keyway", "rm", name) // no terminal, no question
}

// TestArgumentsFromTheLaptop checks that every byte in a command's words arrives, whichever login
// shell the workspace's user has, with start files that print.
func TestArgumentsFromTheLaptop(t *testing.T) {
	t.Parallel()
	w := shared
	every := make([]byte, 0, 255)
	for b := 1; b < 256; b++ {
		every = append(every, byte(b))
	}
	words := []string{"", `a\\b`, `a\ b`, `'`, `"`, `\`, "!!", "a\nb", "$HOME", "~", "*", "{a,b}", "(true)", "\x01\x02", string(every), " ", "--", "-c", "-d", "-T", "--as"}
	for n := 0; n < 600<<10; n += 100 * len(every) {
		words = append(words, strings.Repeat(string(every), 100))
	}
	for _, shell := range []string{"fish", "tcsh", "bash"} {
		name := "words-" + shell
		w.up(t, name, "--image", string(lab.Shells), "--user", shell)
		if r := w.do("ssh", name, "echo it speaks"); !strings.Contains(r.Stdout, "printed by a start file") {
			t.Errorf("%s reads no start file: %s", shell, r)
		}
		// The laptop's own shell plays no part, since the words come from a program.
		cmd := w.command(append([]string{"keyway", "run", name, "-T", "--as", "words", "--", "sh", "-c", `printf '%s\0' "$@"`, "sh"}, words...)...)
		r := w.finish(cmd, "")
		r.Command = "keyway run " + name + " with all words"
		if want := strings.Join(words, "\x00") + "\x00"; r.Code != 0 || r.Stdout != want {
			t.Errorf("%d bytes, want %d: %s", len(r.Stdout), len(want), r)
		}
		if out := w.must(t, "keyway", "logs", "--raw", name+"/words"); strings.Contains(out, "start file") {
			t.Error("what start files print is in the log")
		}
		if out := w.must(t, "keyway", "ls", "--json", name); !strings.HasPrefix(out, "[") || strings.Contains(out, "start file") {
			t.Errorf("ls --json: %.300s", out)
		}
	}
}
