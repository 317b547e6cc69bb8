//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"keyway/test/lab"
)

func TestRun(t *testing.T) {
	t.Parallel()
	w := shared
	r := w.do("keyway", "run", train, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
	if r.Code != 7 || r.Stdout != "out\n" || r.Stderr != "err\n" {
		t.Error(r)
	}
	if r := w.do("keyway", "run", train, "--", "sh", "-c", "kill -TERM $$"); r.Code != 128+15 {
		t.Errorf("ended by a signal: %s", r)
	}
	if r := w.do("keyway", "run", train, "--", "no-such-program"); r.Code != 127 || !strings.Contains(r.Stderr, "no-such-program") {
		t.Errorf("a program that is not there: %s", r)
	}
	equal(t, "arguments arrive as they are", w.must(t, "keyway", "run", train, "--", "printf", "%s|", "a b", "it's", "$HOME", "", "*"), "a b|it's|$HOME||*|")
}

// TestRunThatIsInterrupted checks that the job continues after Ctrl-C without a terminal, where
// keyway cannot ask what to do.
func TestRunThatIsInterrupted(t *testing.T) {
	t.Parallel()
	w := shared
	cmd := w.command("keyway", "run", train, "--as", "cut", "--", "sh", "-c", "echo begun; exec sleep 1000")
	said := w.background(t, "begun", cmd)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	said.await(t, "[the job goes on; see it: keyway ls "+train+"; stop it: keyway kill "+train+"/cut]")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("want exit code 130: %v", err)
	}
	w.must(t, "keyway", "kill", train+"/cut")
	if r := w.do("keyway", "wait", train+"/cut"); r.Code != 128+15 {
		t.Errorf("the job that was stopped: %s", r)
	}
}

func TestDetachedJob(t *testing.T) {
	t.Parallel()
	w := shared
	w.must(t, "keyway", "run", train, "-d", "--as", "gate", "--", "sh", "-c", "echo begun; until [ -e /tmp/gate-open ]; do sleep 0.1; done; echo done; exit 3")
	holds(t, "the list of jobs", w.must(t, "keyway", "ls", train), "gate")
	follow := w.command("keyway", "logs", "-f", train+"/gate")
	w.background(t, "begun", follow)
	holds(t, "its log", w.must(t, "keyway", "logs", train+"/gate"), "begun")
	if r := w.do("keyway", "run", train, "-d", "--as", "gate", "--", "true"); r.Code != 24 {
		t.Errorf("a second job of that name, want exit code 24: %s", r)
	}
	w.must(t, "ssh", train, "touch /tmp/gate-open")
	if r := w.do("keyway", "wait", train+"/gate"); r.Code != 3 {
		t.Errorf("wait, want the job's exit code 3: %s", r)
	}
	equal(t, "the whole log", w.must(t, "keyway", "logs", train+"/gate"), "begun\ndone\n")
	if r := w.do("keyway", "attach", train+"/gate"); r.Code != 3 || !strings.Contains(r.Stdout, "begun\ndone\n") {
		t.Errorf("attach to a job that has ended: %s", r)
	}
	if r := w.do("keyway", "logs", train+"/nothing"); r.Code != 30 {
		t.Errorf("a job that is not there, want exit code 30: %s", r)
	}
}

func TestAttachTerminal(t *testing.T) {
	t.Parallel()
	w := shared
	w.up(t, "desk", "--image", string(lab.Base))
	open := func() (*screenText, func(string), func() int) {
		cmd := w.command("keyway", "attach", "desk")
		term, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 30, Cols: 100})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { term.Close() })
		s := watch(term)
		return s, func(text string) { s.write(t, term, text) }, func() int {
			_ = cmd.Wait()
			return cmd.ProcessState.ExitCode()
		}
	}
	screen, typeIn, end := open()
	typeIn("echo first''-line; kept=yes\r")
	screen.await(t, "first-line")
	typeIn("\r~d")
	if code := end(); code != 0 {
		t.Errorf("leaving exits with %d", code)
	}
	screen, typeIn, end = open()
	screen.await(t, "first-line") // the earlier output
	typeIn("echo kept=$kept\r")
	screen.await(t, "kept=yes")
	typeIn("exit 4\r")
	if code := end(); code != 4 {
		t.Errorf("the shell's end exits with %d, want 4", code)
	}
}

// TestJobSurvives kills everything between the laptop and the job, one after
// the other.
func TestJobSurvives(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	if err := w.unlockAndUp(); err != nil {
		t.Fatal(err)
	}
	w.must(t, "keyway", "run", train, "-d", "--as", "job", "--", "sh", "-c", "i=0; until [ -e /tmp/enough ]; do i=$((i+1)); echo $i; sleep 0.05; done; exit 5")
	// Commands that watch the job all the time, and the exit code of each.
	watching := map[string]int{"logs -f " + train + "/job": 0, "logs -f": 0, "logs -f --raw " + train + "/job": 0, "wait " + train + "/job": 5, "wait": 5}
	looks := map[string]*looking{}
	for words := range watching {
		args := append([]string{"keyway"}, strings.Fields(words)...)
		if !strings.Contains(words, "/") {
			args = append(args, train)
		}
		l := &looking{Cmd: w.command(args...)}
		l.Stdout, l.Stderr = &l.out, &l.errs
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Process.Kill() })
		looks[words] = l
	}
	for _, c := range []struct {
		what string
		kill func() error
	}{
		{"the bastion", func() error { w.Bastion.KillSSHD(); return w.Bastion.StartSSHD() }},
		{"the GPU machine's sshd", func() error { w.GPU.KillSSHD(); return w.GPU.StartSSHD() }},
		{"the node", func() error { return lab.Kill(syscall.SIGKILL, programs(w.GPU)...) }},
		{"the link", func() error {
			return lab.Kill(syscall.SIGKILL, withArgument(w.Laptop.Processes("keyway"), "link serve ")...)
		}},
		{"the link, and the next one at its start", func() error {
			first := withArgument(w.Laptop.Processes("keyway"), "link serve ")
			if err := lab.Kill(syscall.SIGKILL, first...); err != nil {
				return err
			}
			for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				next := slices.DeleteFunc(withArgument(w.Laptop.Processes("keyway"), "link serve "), func(pid int) bool { return slices.Contains(first, pid) })
				if len(next) > 0 {
					return lab.Kill(syscall.SIGKILL, next...)
				}
			}
			return errors.New("no command has started another link")
		}},
	} {
		if err := c.kill(); err != nil {
			t.Fatal(err)
		}
		if r := w.do("ssh", train, "echo hi"); r.Code != 0 || r.Stdout != "hi\n" {
			t.Errorf("the first command after %s was killed: %s", c.what, r)
		}
	}
	w.must(t, "ssh", train, "touch /tmp/enough")
	if r := w.do("keyway", "wait", train+"/job"); r.Code != 5 {
		t.Errorf("the job's exit code, want 5: %s", r)
	}
	log := w.must(t, "keyway", "logs", train+"/job")
	for i, line := range strings.Fields(log) {
		if line != strconv.Itoa(i+1) {
			t.Fatalf("line %d of the log is %q", i+1, line)
		}
	}
	for words, code := range watching {
		l := looks[words]
		_ = l.Wait()
		if got := l.ProcessState.ExitCode(); got != code {
			t.Errorf("%s exits with %d, want %d: %s", words, got, code, &l.errs)
		}
		if code == 0 && l.out.String() != log {
			t.Errorf("%s has printed %q, want %q; %s", words, &l.out, log, &l.errs)
		}
	}
}

// looking is a command that watches a job.
type looking struct {
	*exec.Cmd
	out, errs bytes.Buffer
}

// programs returns the nodes that run on a host, by the name of their file: keyway and a hash.
func programs(h *lab.Host) []int {
	return h.ProcessesThat(func(name string) bool { return strings.HasPrefix(name, "keyway") })
}

func TestStopAndStart(t *testing.T) {
	t.Parallel()
	w := shared
	w.up(t, "pause", "--image", string(lab.Base))
	w.must(t, "ssh", "pause", "echo kept >/root/file")
	before := state(t, w, "pause")
	w.must(t, "keyway", "stop", "pause")
	equal(t, "state after stop", state(t, w, "pause").State, "stopped")
	if r := w.do("ssh", "pause", "true"); r.Code != 255 || !strings.Contains(r.Stderr, "keyway start gpu1/pause") {
		t.Errorf("ssh into a stopped workspace: %s", r)
	}
	for _, command := range []string{"run pause -T -- true", "run pause -d -- true", "logs pause", "attach pause/x", "wait pause", "ls pause"} {
		r := w.do(append([]string{"keyway"}, strings.Fields(command)...)...)
		if r.Code != 31 || strings.Count(r.Stderr, "does not run") != 1 || strings.Count(r.Stderr, "keyway start gpu1/pause") != 1 {
			t.Errorf("of a stopped workspace, want code 31 and the reason once: %s", r)
		}
	}
	w.must(t, "keyway", "stop", "pause") // no error
	w.must(t, "keyway", "start", "pause")
	equal(t, "a file", w.must(t, "ssh", "pause", "cat /root/file"), "kept\n")
	after := state(t, w, "pause")
	equal(t, "state after start", after.State, "running")
	equal(t, "host key", after.Guest.HostKey, before.Guest.HostKey)
}

// listed has the parts of the output of keyway ls --json that the tests read.
type listed struct {
	Name, State, Reason string
	Guest               struct{ HostKey string }
}

func state(t *testing.T, w *world, name string) listed {
	t.Helper()
	var all []listed
	out := w.must(t, "keyway", "ls", "--json")
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, l := range all {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("%s is not in %s", name, out)
	return listed{}
}
