//go:build linux

package words

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clipperhouse/displaywidth"
	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/proctree"
	"keyway/internal/session"
	"keyway/internal/session/wire"
)

func TestRunPassesTheExitCodeOn(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct {
		script string
		code   int
	}{
		{"exit 0", 0}, {"exit 3", 3}, {"exit 255", 255},
		{"kill -TERM $$", 128 + 15}, {"kill -KILL $$", 128 + 9},
	} {
		if r := l.keyway("run", "--", "sh", "-c", c.script); r.code != c.code {
			t.Errorf("%s: exit code %d, want %d", c.script, r.code, c.code)
		}
		if r := l.keyway("wait"); r.code != c.code {
			t.Errorf("%s: wait exits with %d, want %d", c.script, r.code, c.code)
		}
	}
	exit := l.session("job-4").Exit
	if exit == nil || exit.Signal != "SIGTERM" || exit.Code != 143 || exit.Ended.Before(exit.Started) || exit.Started.IsZero() {
		t.Errorf("exit record %+v", exit)
	}
}

func TestRunKeepsStdoutAndStderrApart(t *testing.T) {
	l := newLab(t)
	r := l.keyway("run", "--as", "x", "--", "sh", "-c", "echo out; echo err >&2; echo out2")
	if r.out != "out\nout2\n" || r.err != "err\n" {
		t.Errorf("run printed %q and %q", r.out, r.err)
	}
	r = l.keyway("logs", "x")
	if r.out != "out\nout2\n" || r.err != "err\n" || r.code != 0 {
		t.Errorf("logs printed %q and %q", r.out, r.err)
	}
	raw, err := os.ReadFile(filepath.Join(l.Path("x"), "000000000000000.log"))
	if err != nil || len(raw) != len("out\nerr\nout2\n") {
		t.Errorf("the raw log is %q, %v", raw, err)
	}
}

func TestRunForwardsInputAndItsEnd(t *testing.T) {
	l := newLab(t)
	in := strings.Repeat("all of it\n", 100_000)
	if r := l.keywayWith(in, "run", "--", "cat"); r.out != in || r.code != 0 {
		t.Errorf("%d bytes came back of %d; exit code %d; %s", len(r.out), len(in), r.code, r.err)
	}
	// A job that does not read its input does not keep run from ending.
	if r := l.keywayWith(in, "run", "--", "true"); r.code != 0 {
		t.Errorf("exit code %d; %s", r.code, r.err)
	}
	// Nor does an input that never ends.
	p := l.start("run", "--", "sh", "-c", "exit 5")
	if code := p.wait(); code != 5 {
		t.Errorf("exit code %d", code)
	}
}

func TestRunUsesTheCallersDirectoryAndEnvironment(t *testing.T) {
	l := newLab(t)
	cmd := l.cmd("run", "--as", "here", "--", "sh", "-c", `echo "$PWD $CUDA_VISIBLE_DEVICES $KEYWAY_SESSION"`)
	cmd.Env = append(cmd.Env, "CUDA_VISIBLE_DEVICES=0,3")
	if r := l.finish(cmd); r.out != cmd.Dir+" 0,3 here\n" {
		t.Errorf("the job saw %q", r.out)
	}
}

func TestJobsHaveDefaultSignalsAndNoStrangeDescriptors(t *testing.T) {
	l := newLab(t)
	cmd := l.cmd("run", "--", "sh", "-c", "grep SigIgn /proc/self/status; ls /proc/self/fd")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd.ExtraFiles = []*os.File{w} // as a shell's coprocess would be
	got := l.finish(cmd)
	fields := strings.Fields(got.out) // ls itself opens one
	if len(fields) != 6 || fmt.Sprint(fields[2:]) != "[0 1 2 3]" {
		t.Fatalf("the job has %q", fields)
	}
	// Those from 32 on are the C library's and the runtime's own: how they come
	// from our own ancestors, a program cannot change.
	if ignored, err := strconv.ParseUint(fields[1], 16, 64); err != nil || ignored&0x7fffffff != 0 {
		t.Errorf("the job ignores %s, %v", fields[1], err)
	}
}

func TestCommandsThatCannotBeRun(t *testing.T) {
	l := newLab(t)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("not a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("\x7fELF but no more"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		command, says string
		code          int
	}{
		{"no-such-command", "no-such-command: command not found", 127},
		{"/no/such/file", "no such file", 127},
		{plain, "permission denied", 126},
		{broken, "exec format error", 126},
		{"/", "", 126},
	} {
		for _, flags := range [][]string{{"run"}, {"run", "-d"}, {"run", "-t"}} {
			r := l.keyway(append(flags, "--as", "x", "--", c.command)...)
			if r.code != c.code || !strings.Contains(r.err, c.says) || r.out != "" {
				t.Errorf("%v %s: exit code %d (want %d), %q", flags, c.command, r.code, c.code, r.err)
			}
			if _, err := os.Stat(l.Path("x")); !os.IsNotExist(err) {
				t.Errorf("%s left a session behind: %v", c.command, err)
			}
		}
	}
}

func TestDetachedRun(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	if got := l.ok("run", "-d", "--as", "exp7", "--", "sh", "-c", "echo begun; cat "+fifo+"; exit 7"); got != "exp7\n" {
		t.Errorf("run -d printed %q", got)
	}
	follow := l.start("logs", "-f")
	follow.out.expect(t, "begun\n")
	waiter := l.start("wait", "train/exp7")
	l.writeFifo(fifo, "released\n")
	if code := waiter.wait(); code != 7 {
		t.Errorf("wait: exit code %d", code)
	}
	follow.out.expect(t, "released\n")
	if code := follow.wait(); code != 0 {
		t.Errorf("logs -f: exit code %d", code)
	}
	if r := l.keyway("attach", "exp7"); r.code != 7 || !strings.Contains(r.err, "[train/exp7 ended: exit code 7]") || !strings.HasSuffix(r.out, "released\n") {
		t.Errorf("attach to an ended session: %+v", r)
	}
}

// fifo returns a FIFO for which a job can wait.
func (l *lab) fifo() string {
	path := filepath.Join(l.t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

func (l *lab) writeFifo(path, s string) {
	l.t.Helper()
	within(l.t, "a reader of the fifo", func() {
		if err := os.WriteFile(path, []byte(s), 0); err != nil {
			l.t.Error(err)
		}
	})
}

func TestTheExitRecordIsOnDiskBeforeAnybodyIsTold(t *testing.T) {
	l := newLab(t)
	for range 20 {
		l.ok("run", "-d", "--as", "x", "--", "sh", "-c", "exit 9")
		dir := l.Path("x")
		conn, err := wire.Connect(dir, wire.Hello{})
		if err != nil {
			continue // the job was faster
		}
		status, err := conn.Pump(wire.Discard{})
		var exit session.ExitRecord
		if readErr := recorded(dir, "exit.json", &exit); readErr != nil {
			t.Fatalf("told %v (%v) without a record: %v", status, err, readErr)
		}
		if exit.Code != 9 || status != nil && status.Code != 9 {
			t.Fatalf("record %+v, told %+v", exit, status)
		}
		conn.Close()
		l.holderGone(l.session("x"))
	}
}

func TestNames(t *testing.T) {
	l := newLab(t)
	l.ok("run", "-d", "--as", "x", "--", "sleep", "1000")
	r := l.keyway("run", "--as", "x", "--", "true")
	if r.code != keyway.ExitCode(keyway.Errorf(keyway.NameTaken, "")) || !strings.Contains(r.err, "keyway attach train/x") {
		t.Errorf("a living name: %+v", r)
	}
	l.ok("kill", "x")
	l.ok("run", "--as", "x", "--", "echo", "second")
	l.ok("run", "--as", "x", "--", "echo", "third")
	for name, command := range map[keyway.Name]string{"x": "third", "x.1": "1000", "x.2": "second"} {
		if got := l.session(name).Command[1]; got != command {
			t.Errorf("%s is %q, want %q", name, got, command)
		}
	}
	for _, command := range [][]string{{"sh", "-c", "true"}, {"/bin/echo", "Ü"}, {"env", "true"}, {"echo"}} {
		l.ok(append([]string{"run", "--"}, command...)...)
	}
	for _, name := range []keyway.Name{"job-1", "echo-1", "job-2", "echo-2"} {
		l.session(name)
	}
	for _, bad := range []string{"", "../x", "X", strings.Repeat("x", 49), "other/x"} {
		if r := l.keyway("run", "--as", bad, "--", "true"); r.code != 2 {
			t.Errorf("--as %q: %+v", bad, r)
		}
	}
	long := strings.Repeat("y", keyway.MaxName)
	l.ok("run", "--as", long, "--", "true")
	l.ok("run", "--as", long, "--", "true")
}

func TestOfManyRunsOfOneNameExactlyOneWins(t *testing.T) {
	l := newLab(t)
	for round := range 5 {
		name := fmt.Sprint("x", round)
		results := make([]result, 4)
		var all sync.WaitGroup
		for i := range results {
			all.Go(func() { results[i] = l.keyway("run", "-d", "--as", name, "--", "sleep", "1000") })
		}
		all.Wait()
		won := 0
		for _, r := range results {
			switch r.code {
			case 0:
				won++
			case 24:
			default:
				t.Errorf("%+v", r)
			}
		}
		if won != 1 {
			t.Errorf("%d of them won", won)
		}
	}
	// Names that are made up never collide.
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { l.ok("run", "-d", "--", "true") })
	}
	all.Wait()
	l.session("true-4")
}

func TestAViewerThatIsKilledLeavesTheJobAlone(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	p := l.start("run", "--as", "x", "--", "sh", "-c", "echo begun; cat "+fifo+"; echo done; exit 4")
	p.out.expect(t, "begun\n")
	p.kill()
	l.writeFifo(fifo, "released\n")
	if r := l.keyway("wait", "x"); r.code != 4 {
		t.Errorf("%+v", r)
	}
	if got := l.ok("logs", "x"); got != "begun\nreleased\ndone\n" {
		t.Errorf("the log is %q", got)
	}
}

func TestCtrlCDetachesARunWithoutATerminal(t *testing.T) {
	for sig, code := range map[os.Signal]int{unix.SIGINT: 130, unix.SIGTERM: 143, unix.SIGHUP: 129} {
		l := newLab(t)
		p := l.start("run", "--", "sh", "-c", "echo begun; exec sleep 1000")
		p.out.expect(t, "begun\n")
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		p.errs.expect(t, "the job goes on as train/job-1: keyway attach train/job-1")
		if got := p.wait(); got != code {
			t.Errorf("%v: exit code %d, want %d", sig, got, code)
		}
		if !l.session("job-1").Alive() {
			t.Error("the job is gone")
		}
	}
}

func TestACommandWhoseReaderHasSeenEnough(t *testing.T) {
	l := newLab(t)
	cmd := l.cmd("run", "--as", "x", "--", "sh", "-c", "while echo line; do :; done")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	errs := newExpecter()
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		t.Error(err)
	}
	r.Close()
	within(t, "run", func() { _ = cmd.Wait() })
	errs.expect(t, "the job goes on as train/x")
	if code := cmd.ProcessState.ExitCode(); code != 141 {
		t.Errorf("exit code %d", code)
	}
}

func TestNothingButItsOwnEndReachesASession(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", "echo begun; cat "+fifo+"; exit 6")
	i := l.session("x")
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE, unix.SIGUSR1} {
		if err := unix.Kill(i.Holder, sig); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := proctree.Read(i.Holder); err != nil || p.Session != i.Holder {
		t.Errorf("the holder is in session %+v, %v", p, err)
	}
	if p, err := proctree.Read(i.Job); err != nil || p.Session != i.Job {
		t.Errorf("the job is in session %+v, %v", p, err)
	}
	l.writeFifo(fifo, "")
	if r := l.keyway("wait", "x"); r.code != 6 {
		t.Errorf("%+v", r)
	}
}

func TestAProcessThatIsLeftBehindDoesNotKeepASession(t *testing.T) {
	l := newLab(t)
	for _, flag := range []string{"-T", "-t"} {
		start := time.Now()
		// It must ignore the hang-up that the end of a terminal sends.
		r := l.keyway("run", flag, "--as", "x", "--", "sh", "-c", `trap "" HUP; sleep 1000 & echo $!; exit 3`)
		if r.code != 3 || time.Since(start) > patience/2 {
			t.Errorf("%s: %+v after %v", flag, r, time.Since(start))
		}
		if exit := l.session("x").Exit; !exit.Cut {
			t.Errorf("%s: the record does not say so: %+v", flag, exit)
		}
		var left int
		if _, err := fmt.Sscan(r.out, &left); err != nil || unix.Kill(left, 0) != nil {
			t.Errorf("%s: the process left behind is gone: %v", flag, err)
		}
		_ = unix.Kill(left, unix.SIGKILL)
	}
}

func TestOutputAfterTheJobsEndIsKept(t *testing.T) {
	l := newLab(t)
	// As with bash's cmd > >(tee log), the process that prints outlives the job a little.
	r := l.keyway("run", "--", "sh", "-c", `(while kill -0 $$ 2>/dev/null; do :; done; echo late) & exit 2`)
	if r.code != 2 || r.out != "late\n" {
		t.Errorf("%+v", r)
	}
}

func TestKillReachesAll(t *testing.T) {
	l := newLab(t)
	// As torchrun does: workers in kernel sessions of their own, parents gone.
	script := `trap "" TERM HUP; setsid sh -c 'trap "" TERM HUP; echo $$; while :; do sleep 1000; done' & wait; wait`
	for _, flag := range []string{"-T", "-t"} {
		l.ok("run", "-d", flag, "--as", "x", "--", "sh", "-c", script)
		follow := l.start("logs", "-f", "x")
		worker := strings.TrimSpace(follow.out.expect(t, "\n"))
		var pid int
		if _, err := fmt.Sscan(worker, &pid); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		r := l.keyway("kill", "--grace", "0.2", "x")
		if r.code != 0 || !strings.Contains(r.err, "SIGKILL, ended by keyway kill") {
			t.Errorf("%+v", r)
		}
		within(t, "the worker's end", func() {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
		})
		if err := unix.PidfdSendSignal(fd, 0, nil, 0); err == nil {
			t.Error("the worker lives")
		}
		if r := l.keyway("kill", "x"); r.code != 31 {
			t.Errorf("kill of an ended session: %+v", r)
		}
	}
}

func TestKillSparesSessionsStartedInside(t *testing.T) {
	l := newLab(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l.ok("run", "-d", "--as", "outer", "--", "sh", "-c", program+" run -d --as inner -- sleep 1000; echo ready; sleep 1000")
	l.start("logs", "-f", "outer").out.expect(t, "ready\n")
	l.ok("kill", "outer")
	if i := l.session("inner"); !i.Alive() {
		t.Errorf("inner is %s", describe(i))
	}
}

func TestAHolderThatIsKilledIsToldOf(t *testing.T) {
	l := newLab(t)
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", "echo begun; exec sleep 1000")
	attached := l.start("attach", "x")
	attached.out.expect(t, "begun\n")
	waiter := l.start("wait", "x")
	i := l.session("x")
	if err := unix.Kill(i.Holder, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*liveProcess{attached, waiter} {
		if code := p.wait(); code != 31 || !strings.Contains(p.errs.String(), "its holder was killed") {
			t.Errorf("%v: exit code %d, %s", p.cmd.Args[1:], code, p.errs)
		}
	}
	if r := l.keyway("ls"); !strings.Contains(r.out, "lost: its holder was killed") {
		t.Errorf("ls: %s", r.out)
	}
	if got := l.ok("logs", "x"); got != "begun\n" {
		t.Errorf("log: %q", got)
	}
	// The remaining processes of the job can still be ended, and the name can be used again.
	if r := l.keyway("kill", "x"); r.code != 0 || !strings.Contains(r.err, "what was left of train/x was killed") {
		t.Errorf("kill: %+v", r)
	}
	l.ok("run", "--as", "x", "--", "true")
	if got := l.session("x.1").Status; got != session.Lost {
		t.Errorf("the old record is %s", got)
	}
}

// TestSessionsOfAnEarlierRunOfTheWorkspace checks that a job that was killed with its workspace has
// an end, which every command tells.
func TestSessionsOfAnEarlierRunOfTheWorkspace(t *testing.T) {
	l := newLab(t)
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", "echo begun; exec sleep 1000")
	l.start("logs", "-f", "x").out.expect(t, "begun\n")
	i := l.session("x")
	m := i.Meta
	m.Epoch = "another boot/1"
	data, err := json.Marshal(m)
	if err == nil {
		err = os.WriteFile(filepath.Join(i.Path, "meta.json"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Kill(i.Holder, unix.SIGKILL)
	_ = unix.Kill(i.Job, unix.SIGKILL)
	l.holderGone(i)
	x := l.session("x")
	if got := describe(x); got != "SIGKILL, the workspace was stopped" || took(x, time.Now()) != "-" || x.Exit.Output != 6 {
		t.Errorf("%q, %+v", got, x.Exit)
	}
	for _, args := range [][]string{{"wait", "x"}, {"attach", "x"}, {"wait", "--json", "x"}} {
		if r := l.keyway(args...); r.code != 137 {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := l.keyway("kill", "x"); r.code != 31 || !strings.Contains(r.err, "(SIGKILL, the workspace was stopped)") {
		t.Errorf("kill: %+v", r)
	}
	l.ok("rm", "x")
}

func TestTheWorkspaceStops(t *testing.T) {
	l := newLab(t)
	l.ok("run", "-d", "--as", "a", "--", "sh", "-c", "trap 'echo saved; exit 5' TERM; echo begun; while :; do sleep 0.1; done")
	l.ok("run", "-d", "-t", "--as", "b", "--", "sh", "-i")
	l.start("logs", "-f", "a").out.expect(t, "begun\n")
	for _, name := range []keyway.Name{"a", "b"} {
		_ = unix.Kill(l.session(name).Holder, unix.SIGTERM)
	}
	within(t, "the end of all", func() {
		l.keyway("wait", "a")
		l.keyway("wait", "b")
	})
	if got := describe(l.session("a")); got != "exit code 5, the workspace was stopped" {
		t.Errorf("a: %s", got)
	}
	if got := l.ok("logs", "a"); got != "begun\nsaved\n" {
		t.Errorf("a printed %q", got)
	}
	if got := l.session("b"); got.Exit == nil || got.Exit.Reason != "the workspace was stopped" {
		t.Errorf("b: %s", describe(got))
	}
}

func TestSend(t *testing.T) {
	l := newLab(t)
	l.ok("run", "-d", "-t", "--as", "tty", "--", "cat")
	l.ok("send", "tty", "typed by", "Space", "hand", "Enter")
	p := l.start("logs", "-f", "tty")
	p.out.expect(t, "typed by hand\ntyped by hand\n") // echoed, then copied
	l.ok("send", "tty", "C-d")
	if r := l.keyway("wait", "tty"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	// In some shells a signal interrupts read, in others not: only a failure without one is the end.
	script := `trap 'hit=1; echo int' INT; trap 'hit=1; echo usr1' USR1; echo ready
		while :; do hit=; if read line; then echo "got $line"; elif [ -z "$hit" ]; then exit 8; fi; done`
	running := l.start("run", "--as", "pipe", "--", "sh", "-c", script)
	running.out.expect(t, "ready\n")
	l.ok("send", "pipe", "a line", "Enter")
	running.out.expect(t, "got a line\n")
	for _, s := range []struct{ send, get string }{{"C-c", "int\n"}, {"SIGUSR1", "usr1\n"}} {
		l.ok("send", "pipe", s.send)
		l.ok("send", "pipe", "on", "Enter") // dash runs a trap only after read
		running.out.expect(t, s.get)
	}
	l.ok("send", "--signal", "usr1", "pipe")
	l.ok("send", "pipe", "on", "Enter")
	running.out.expect(t, "usr1\n")
	l.ok("send", "pipe", "C-d")
	if code := running.wait(); code != 8 {
		t.Errorf("exit code %d", code)
	}
	if r := l.keyway("send", "pipe", "x"); r.code != 31 {
		t.Errorf("send to an ended session: %+v", r)
	}
	l.ok("run", "-d", "--as", "z", "--", "sleep", "1000")
	if r := l.keyway("send", "z", "SIGNONE"); r.code != 2 {
		t.Errorf("no signal: %+v", r)
	}
}

func TestListAndRemove(t *testing.T) {
	l := newLab(t)
	if r := l.keyway("ls"); r.code != 0 || r.out != "" {
		t.Errorf("nothing: %+v", r)
	}
	if got := strings.TrimSpace(l.ok("ls", "--json")); got != "[]" {
		t.Errorf("nothing as JSON: %s", got)
	}
	for range 12 {
		l.ok("run", "--", "true")
	}
	l.ok("run", "-d", "--as", "living", "--", "sleep", "1000")
	r := l.keyway("ls")
	if strings.Count(r.out, "\n") != 1+10+1 || !strings.Contains(r.err, "2 older ones: keyway ls train -a") {
		t.Errorf("%+v", r)
	}
	var list []struct {
		Name  string
		State string
		Exit  *struct{ Code int }
	}
	if err := json.Unmarshal([]byte(l.ok("ls", "-a", "--json")), &list); err != nil || len(list) != 13 {
		t.Fatalf("%d sessions, %v", len(list), err)
	}
	if list[12].Name != "living" || list[12].State != "running" || list[0].Exit == nil || list[0].State != "ended" {
		t.Errorf("%+v", list)
	}
	if r := l.keyway("rm", "living"); r.code != 24 {
		t.Errorf("rm of a living one: %+v", r)
	}
	l.ok("rm", "true-1", "train/true-2")
	if r := l.keyway("rm", "true-1"); r.code != 30 {
		t.Errorf("rm of nothing: %+v", r)
	}
	l.ok("rm", "--ended")
	if got, err := l.List(); err != nil || len(got) != 1 {
		t.Errorf("%d sessions are left, %v", len(got), err)
	}
}

func TestNameLeftOut(t *testing.T) {
	l := newLab(t)
	if r := l.keyway("logs"); r.code != 30 || !strings.Contains(r.err, "keyway run") {
		t.Errorf("no sessions: %+v", r)
	}
	l.ok("run", "--", "echo", "one")
	l.ok("run", "--", "echo", "two")
	if got := l.ok("logs"); got != "two\n" {
		t.Errorf("the newest printed %q", got)
	}
	// The laptop's commands use the workspace's own name.
	if got := l.ok("logs", "train"); got != "two\n" {
		t.Errorf("train printed %q", got)
	}
	if got, own := l.ok("ls", "--json"), l.ok("ls", "train", "--json"); got != own {
		t.Errorf("ls says %s, and ls train %s", got, own)
	}
	if got := l.ok("run", "train", "--as", "train", "--", "echo", "three"); got != "three\n" {
		t.Errorf("run train -- printed %q", got)
	}
	l.ok("run", "--", "echo", "four")
	if got := l.ok("logs", "train"); got != "three\n" {
		t.Errorf("a session that is called as the workspace printed %q", got)
	}
	l.ok("run", "-d", "--", "sh", "-c", "exec sleep 1000")
	if got := l.ok("logs"); got != "" {
		t.Errorf("the living one printed %q", got)
	}
	l.ok("run", "-d", "--", "sh", "-c", "exec sleep 1000")
	if r := l.keyway("logs"); r.code != 2 || !strings.Contains(r.err, "train/job-1, train/job-2") {
		t.Errorf("two living: %+v", r)
	}
}

func TestHelpAndMisuse(t *testing.T) {
	l := newLab(t)
	for _, c := range commands() {
		got := l.ok(c.name, "--help")
		for _, must := range []string{"Usage: keyway " + c.name, "Example", "Exit code: "} {
			if !strings.Contains(got, must) {
				t.Errorf("%s --help does not say %q", c.name, must)
			}
		}
		if r := l.keyway(c.name, "--no-such-flag"); r.code != 2 || !strings.Contains(r.err, "keyway "+c.name+" --help") {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	for _, args := range [][]string{
		{}, {"frobnicate"}, {"run"}, {"run", "-t", "-T", "true"}, {"kill"}, {"rm"}, {"send", "x"}, {"send", "--signal", "TERM", "x", "y"}, {"ls", "x"},
		{"logs", "a", "b"}, {"kill", "--grace", "-1", "x"}, {"rm", "--ended", "x"}, {"attach"}, {"attach", "a", "b"},
	} {
		if r := l.keyway(args...); r.code != 2 {
			t.Errorf("%v: %+v", args, r)
		}
	}
	for _, args := range [][]string{{"attach", "x"}, {"wait", "x"}, {"kill", "x"}, {"send", "x", "C-c"}, {"attach", "--view"}} {
		if r := l.keyway(args...); r.code != 30 {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// TestTheListFitsTheWindow checks that a list fits the window, because the command and the last
// line are cut, and that a list in a pipe is complete.
func TestTheListFitsTheWindow(t *testing.T) {
	l := newLab(t)
	long := strings.Repeat("世界 and more ", 30)
	l.ok("run", "--as", "exp7", "--", "echo", long)
	if got := l.ok("ls"); strings.Count(got, strings.TrimSpace(long)) != 2 {
		t.Errorf("in a pipe: %q", got)
	}
	check := func(columns int, text string) {
		t.Helper()
		lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(text, "\r", "")), "\n")
		if len(lines) != 2 || !strings.Contains(lines[1], "exp7") || !strings.Contains(lines[1], "exit code 0") {
			t.Errorf("in %d columns: %q", columns, text)
		}
		for _, line := range lines {
			if w := displaywidth.String(line); w > columns {
				t.Errorf("a line of %d columns in %d: %q", w, columns, line)
			}
		}
	}
	for _, columns := range []int{80, 100, 200} {
		p := l.startTTY(24, uint16(columns), "ls")
		p.wait()
		check(columns, p.out.String())
		check(columns, l.ok("ls", "--columns", fmt.Sprint(columns)))
	}
	if r := l.keyway("ls", "--columns", "many"); r.code != 2 {
		t.Errorf("%+v", r)
	}
}

// recorded reads a record of a session.
func recorded(dir, name string, v any) error {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
