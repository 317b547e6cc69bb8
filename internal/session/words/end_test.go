//go:build linux

package words

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/session"
)

// trainingJob returns the command of a training run, and the file that it saves to.
func (l *lab) trainingJob() (command, saved string) {
	program, err := filepath.Abs("testdata/train.py")
	if err != nil {
		l.t.Fatal(err)
	}
	saved = filepath.Join(l.t.TempDir(), "saved")
	return "python3 " + program + " " + saved, saved
}

// filter is the command of a filter. It handles SIGTERM only if it has an argument.
func (l *lab) filter() string {
	program, err := filepath.Abs("testdata/filter.py")
	if err != nil {
		l.t.Fatal(err)
	}
	return "python3 " + program
}

// The forms of a job, with %s for the command and %f for a filter, and the commands that end it.
var (
	beginnings = map[string][]string{
		"directly":             {"sh", "-c", "exec %s"},
		"by a script":          {"sh", "-c", "%s; echo the script went on"},
		"by bash":              {"bash", "-c", "%s; echo the script went on"},
		"by scripts in a row":  {"sh", "-c", "bash -c '%s; echo the script went on'; echo the script went on"},
		"in a pipeline":        {"bash", "-c", "%s | cat; echo the script went on"},
		"with a log":           {"sh", "-c", "{ %s; echo the script went on; } 2>&1 | tee /dev/null | sed -u p"},
		"into its log":         {"bash", "-c", "exec > >(tee /dev/null) 2>&1; %s; echo the script went on"},
		"with a feed":          {"sh", "-c", "yes | %s | grep --line-buffered -v nothing; echo the script went on"},
		"into a program":       {"sh", "-c", "%s 2>&1 | %f; echo the script went on"},
		"through two":          {"sh", "-c", "%s | %f | %f end; echo the script went on"},
		"to one that ends":     {"bash", "-c", "%s 2>&1 | %f end; echo the script went on"},
		"into a substitution":  {"bash", "-c", "%s > >(%f) 2>&1; echo the script went on"},
		"into its own log":     {"bash", "-c", "exec > >(%f) 2>&1; %s; echo the script went on"},
		"into tee's":           {"bash", "-c", "%s | tee >(%f >/dev/null); echo the script went on"},
		"into a fifo":          {"sh", "-c", "d=$(mktemp -d); mkfifo $d/f; %f <$d/f & %s >$d/f; echo the script went on"},
		"by zsh":               {"zsh", "-c", "%s | %f"},
		"by fish":              {"fish", "-c", "%s | %f; echo the script went on"},
		"by a reader":          {"python3", "-c", "import subprocess\nfor l in subprocess.Popen('exec %s', shell=True, stdout=-1, text=True).stdout: print(l, end='', flush=True)"},
		"from a program":       {"sh", "-c", "sleep 1000 | %f | %s; echo the script went on"},
		"by a launcher":        {"python3", "-c", "import subprocess; subprocess.run('%s', shell=True); print('the script went on')"},
		"by xargs":             {"sh", "-c", "echo '%s' | xargs -I{} sh -c '{}'; echo the script went on"},
		"within a time":        {"timeout", "1h", "sh", "-c", "exec %s"},
		"with a time, by sh":   {"sh", "-c", "timeout 1h %s; echo the script went on"},
		"by a loop":            {"sh", "-c", "while :; do %s; done"},
		"beside a nohup'd one": {"sh", "-c", "nohup sleep 1000 >/dev/null 2>&1 & exec %s"},
	}
	endings = map[string]func(l *lab, i session.Info){
		"kill": func(l *lab, i session.Info) { l.ok("kill", string(i.Name)) },
		"stop": func(l *lab, i session.Info) { _ = unix.Kill(i.Holder, unix.SIGTERM) },
	}
)

// TestATrainingRunSavesWhenItIsTold starts a training run in each way and ends it in each way, with
// a terminal and without. It checks that the run saves its state.
func TestATrainingRunSavesWhenItIsTold(t *testing.T) {
	for how, begin := range beginnings {
		for name, end := range endings {
			for _, tty := range []string{"-t", "-T"} {
				t.Run(strings.Join([]string{how, name, tty}, " "), func(t *testing.T) {
					t.Parallel()
					l := newLab(t)
					command, saved := l.trainingJob()
					filter := l.filter()
					args := []string{"run", "-d", tty, "--as", "x", "--"}
					for _, word := range begin {
						args = append(args, strings.NewReplacer("%s", command, "%f", filter).Replace(word))
					}
					l.ok(args...)
					l.start("logs", "-f", "x").out.expect(t, "training")
					end(l, l.session("x"))
					l.keyway("wait", "x")
					if got, _ := os.ReadFile(saved); string(got) != "saved" {
						t.Errorf("it saved %q; %s\n%s", got, describe(l.session("x")), l.ok("logs", "x"))
					}
					if got := l.ok("logs", "x"); strings.Contains(got, "the script went on") {
						t.Errorf("the log: %q", got)
					}
				})
			}
		}
	}
}

// TestAShellsJobsSaveWhenItIsTold checks the jobs of an interactive shell in the foreground, in the
// background and stopped, with each installed shell.
func TestAShellsJobsSaveWhenItIsTold(t *testing.T) {
	for _, shell := range []string{"bash", "dash", "zsh", "tcsh", "fish"} {
		for where, typed := range map[string]string{"foreground": "", "background": " &"} {
			t.Run(shell+" "+where, func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				command, saved := l.trainingJob()
				p := l.startTTY(24, 200, "run", "--as", "x", "--", shell, "-i")
				p.out.expect(t, "# ")
				p.keys(command + typed + "\r")
				p.out.expect(t, "training\r")
				l.ok("kill", "--grace", "3600", "x")
				if got, _ := os.ReadFile(saved); string(got) != "saved" {
					t.Errorf("it saved %q; %s\n%s", got, describe(l.session("x")), l.ok("logs", "x"))
				}
			})
		}
	}
}

// TestAnIdleShellEndsAtOnce checks that an idle shell ends at once, although it ignores SIGTERM.
func TestAnIdleShellEndsAtOnce(t *testing.T) {
	for _, shell := range []string{"bash", "dash", "zsh", "tcsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.startTTY(24, 80, "run", "--as", "x", "--", shell, "-i").out.expect(t, "# ")
			l.ok("kill", "--grace", "3600", "x")
		})
	}
}

// TestWhatIsLeftBehindGoesOn checks that processes that a job leaves behind continue to print into
// the log.
func TestWhatIsLeftBehindGoesOn(t *testing.T) {
	for _, how := range []string{"", "nohup "} {
		l := newLab(t)
		fifo := l.fifo()
		r := l.keyway("run", "-T", "--as", "x", "--", "sh", "-c",
			how+"python3 -c 'import time; open(\""+fifo+"\").read()\nwhile True: print(\"alive\", flush=True); time.sleep(0.1)' & echo begun; exit 3")
		if r.code != 3 || !strings.Contains(r.err, "train/x left ") {
			t.Errorf("run: %+v", r)
		}
		if r := l.keyway("wait", "x"); r.code != 3 || !strings.Contains(r.err, "left ") {
			t.Errorf("wait: %+v", r)
		}
		if got := l.ok("ls"); !strings.Contains(got, "exit code 3, left ") {
			t.Errorf("ls: %s", got)
		}
		l.writeFifo(fifo, "")
		within(t, "what it prints", func() {
			for strings.Count(l.ok("logs", "x"), "alive") < 15 {
				time.Sleep(50 * time.Millisecond)
			}
		})
		// A new session of the name gets a directory of its own.
		l.ok("run", "-T", "--as", "x", "--", "echo", "another")
		if got := l.ok("logs", "x"); got != "another\n" {
			t.Errorf("the log of the new one is %q", got)
		}
		if r := l.keyway("kill", "x.1"); r.code != 0 {
			t.Errorf("kill of what is left: %+v", r)
		}
		if got := l.session("x.1"); got.Left != 0 || strings.Contains(describe(got), "left") {
			t.Errorf("after kill: %s", describe(got))
		}
		if r := l.keyway("kill", "x.1"); r.code != 31 {
			t.Errorf("kill of nothing: %+v", r)
		}
	}
}

// TestTheEndIsToldInAFlood checks that a viewer learns the job's end although a process that the
// job left behind prints without a pause.
func TestTheEndIsToldInAFlood(t *testing.T) {
	l := newLab(t)
	cmd := l.cmd("run", "-T", "--as", "x", "--", "sh", "-c", "yes & exit 4") // to /dev/null
	within(t, "the end", func() { _ = cmd.Run() })
	if code := cmd.ProcessState.ExitCode(); code != 4 {
		t.Errorf("exit code %d", code)
	}
	l.ok("kill", "--grace", "0", "x")
}

// TestATerminalThatNobodyHasOpen checks that a job may close its terminal for a moment.
func TestATerminalThatNobodyHasOpen(t *testing.T) {
	l := newLab(t)
	script := `echo one; exec </dev/null >/dev/null 2>&1; sleep 1; exec >/dev/tty; seq 20000; echo last; exit 6`
	p := l.start("run", "-t", "--as", "x", "--", "sh", "-c", script)
	p.out.expect(t, "last")
	if code := p.wait(); code != 6 {
		t.Errorf("exit code %d", code)
	}
}

func TestASIGKILLThatIsNotForLackOfMemory(t *testing.T) {
	group := memoryGroup(t, 256<<20) // a holder built with the race detector needs 40
	for _, c := range []struct{ what, job string }{
		{"a child was killed for that, at once", "tail /dev/zero; kill -KILL $$"},
		{"a child was killed for that, before", "tail /dev/zero; sleep 3; kill -KILL $$"},
		{"somebody else was", "(sleep 0.3; kill -KILL $$) & exec tail -f /dev/null"},
		{"keyway killed it", "tail /dev/zero; echo ready; exec tail -f /dev/null"},
	} {
		l := newLab(t)
		cmd := l.cmd("run", "-d", "--as", "x", "--", "sh", "-c", c.job)
		cmd.Args = append([]string{"sh", "-c", `echo $$ >"$0/cgroup.procs"; exec "$@"`, group}, cmd.Args...)
		cmd.Path = "/bin/sh"
		if r := l.finish(cmd); r.code != 0 {
			t.Fatalf("%s: %+v", c.what, r)
		}
		if strings.Contains(c.job, "ready") {
			l.start("logs", "-f", "x").out.expect(t, "ready")
			l.ok("kill", "--grace", "0", "x")
		}
		l.keyway("wait", "x")
		if i := l.session("x"); i.Exit == nil || i.Exit.Signal != "SIGKILL" || i.Exit.OOM || strings.Contains(describe(i), "out of memory: SIGKILL") {
			t.Errorf("%s: %+v, %s", c.what, i.Exit, describe(i))
		}
	}
}

func TestOnExitWhereTheDirectoryIsGone(t *testing.T) {
	l := newLab(t)
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	told := filepath.Join(t.TempDir(), "told")
	cmd := l.cmd("run", "--as", "x", "--on-exit", "echo told >"+told+"; exit 7", "--", "rmdir", dir)
	cmd.Dir = dir
	if r := l.finish(cmd); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	within(t, "the record of the command at the end", func() {
		for l.session("x").Hook == nil {
			time.Sleep(10 * time.Millisecond)
		}
	})
	if got, _ := os.ReadFile(told); string(got) != "told\n" {
		t.Errorf("it was told %q", got)
	}
	if got := l.ok("ls"); !strings.Contains(got, "--on-exit failed: exit code 7") {
		t.Errorf("ls: %s", got)
	}
}

// TestASecondWordHurries checks that a second kill with a shorter grace shortens that of the first.
func TestASecondWordHurries(t *testing.T) {
	l := newLab(t)
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1000; done`)
	l.start("logs", "-f", "x").out.expect(t, "ready")
	var first sync.WaitGroup
	first.Go(func() { l.keyway("kill", "--grace", "3600", "x") })
	within(t, "the end", func() {
		for l.session("x").Alive() {
			l.keyway("kill", "--grace", "0", "x")
		}
		first.Wait()
	})
	if got := describe(l.session("x")); got != "SIGKILL, ended by keyway kill" {
		t.Errorf("it is %q", got)
	}
}
