//go:build linux

package guest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/proctree"
	"keyway/test/await"
)

// hasZombieChild reports whether a child of pid waits to be reaped.
func hasZombieChild(pid int) bool {
	for _, p := range proctree.All() {
		if p.Parent == pid && p.Zombie {
			return true
		}
	}
	return false
}

func lives(pid int) bool { return syscall.Kill(pid, 0) == nil }

func (w *workspace) wait() int {
	w.t.Helper()
	_ = w.init.Wait()
	return w.init.ProcessState.ExitCode()
}

func TestInitReapsOrphans(t *testing.T) {
	w := startWorkspace(t)
	// The middle process ends first, so that its child becomes init's.
	w.output(w.ssh("ws", "for i in 1 2 3 4 5; do (sh -c 'exit 0' &) ; done; (setsid sh -c 'true' &)"))
	await.That(t, "no child is left unreaped", func() bool { return !hasZombieChild(w.init.Process.Pid) })
	if !lives(w.init.Process.Pid) {
		t.Fatal("init has ended")
	}
}

func TestInitEndsWithTheCommandsStatus(t *testing.T) {
	for command, want := range map[string]int{"exit 3": 3, "exit 0": 0, "kill -KILL $$": 128 + 9} {
		home, _ := newHome(t)
		cmd := exec.Command(home.Program(), "init", "--home", string(home), "--", "sh", "-c", command)
		handOver(t, cmd)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("%s: exit %d\n%s", command, code, out)
		}
	}
}

func TestInitHandsSignalsOn(t *testing.T) {
	w := startWorkspace(t, "bash", "-c", `
		for s in HUP USR1 USR2 QUIT; do trap "echo got $s" $s; done
		trap 'echo got TERM; exit 9' TERM
		echo ready
		while :; do sleep 0.01; done`)
	await.That(t, "the command is ready", func() bool { return strings.Contains(w.news.String(), "ready") })
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGQUIT} {
		must(t, w.init.Process.Signal(sig))
		name := strings.TrimPrefix(unix.SignalName(sig), "SIG")
		await.That(t, "the command got "+name, func() bool { return strings.Contains(w.news.String(), "got "+name) })
	}
	must(t, w.init.Process.Signal(unix.SIGTERM))
	if code := w.wait(); code != 9 {
		t.Fatalf("exit %d\n%s", code, w.news)
	}
}

func TestInitStopsWhatDetached(t *testing.T) {
	w := startWorkspace(t)
	var pids []int
	for _, command := range []string{
		"setsid sleep 1000",
		"setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done'",
	} {
		out := w.output(w.ssh("ws", command+" > /dev/null 2>&1 < /dev/null & echo $!"))
		pid, err := strconv.Atoi(strings.TrimSpace(out))
		must(t, err)
		pids = append(pids, pid)
	}
	must(t, os.WriteFile(w.home.GraceFile(), keyway.GraceText(time.Second), 0o600))
	must(t, w.init.Process.Signal(unix.SIGTERM))
	if code := w.wait(); code != 0 {
		t.Fatalf("exit %d\n%s", code, w.news)
	}
	for _, pid := range pids {
		if lives(pid) {
			t.Errorf("process %d lives on", pid)
		}
	}
}

func TestInitStartsTheServerAgain(t *testing.T) {
	w := startWorkspace(t)
	job := strings.TrimSpace(w.output(w.ssh("ws", "setsid sleep 1000 > /dev/null 2>&1 < /dev/null & echo $!")))
	pid, err := strconv.Atoi(job)
	must(t, err)
	must(t, syscall.Kill(w.info.PID, syscall.SIGKILL))
	await.That(t, "another server is ready", func() bool {
		info, err := w.home.ReadInfo()
		return err == nil && info.PID != w.info.PID
	})
	// The host key is the same, or the client would refuse.
	w.output(w.ssh("ws", "true"))
	info, err := w.home.ReadInfo()
	must(t, err)
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", info.PID)); err != nil || string(comm) != keyway.GuestProgram+"\n" {
		t.Errorf("ps names it %q, %v", comm, err)
	}
	if !lives(pid) {
		t.Fatal("the job has ended with the server")
	}
}

func TestInitLockTellsWhetherTheWorkspaceLives(t *testing.T) {
	w := startWorkspace(t)
	path := string(w.home) + "/init.lock"
	data, err := os.ReadFile(path)
	must(t, err)
	if string(data) != fmt.Sprintln(w.init.Process.Pid) {
		t.Fatalf("got %q", data)
	}
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err == nil {
		t.Fatal("it is not locked")
	}
	second := exec.Command(guestProgram, "init", "--home", string(w.home))
	out, err := second.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "runs already") {
		t.Fatalf("a second one: %v %s", err, out)
	}
	// A detached job must not keep the lock.
	w.output(w.ssh("ws", "setsid sleep 1000 > /dev/null 2>&1 < /dev/null &"))
	must(t, w.init.Process.Kill())
	_ = w.init.Wait()
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB))
	await.That(t, "the server ended with its parent", func() bool { return !lives(w.info.PID) })
	for _, p := range proctree.All() {
		killIfIn(p.PID, w.dir)
	}
}

// killIfIn kills a process whose working directory is dir, which makes it one of the test's.
func killIfIn(pid int, dir string) {
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil && cwd == dir {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestInitWithACommandThatIsNotThere(t *testing.T) {
	home, _ := newHome(t)
	cmd := exec.Command(home.Program(), "init", "--home", string(home), "--", "no-such-program")
	handOver(t, cmd)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 127 || !strings.Contains(string(out), "no-such-program") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestInitAsProcess1 checks init as process 1 of a container, where no other process reaps.
func TestInitAsProcess1(t *testing.T) {
	home, _ := newHome(t)
	cmd := exec.Command("unshare", "--pid", "--fork", "--mount-proc", home.Program(), "init", "--home", string(home), "--",
		"sh", "-c", "(setsid sleep 1000 &); echo pid $PPID; exit 6")
	handOver(t, cmd)
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 6 || !strings.Contains(string(out), "pid 1\n") {
		t.Fatalf("exit %d\n%s", cmd.ProcessState.ExitCode(), out)
	}
}

func TestIdleMemory(t *testing.T) {
	w := startWorkspace(t)
	w.output(w.ssh("ws", "head -c 30000000 /dev/zero"))
	const most = 12 << 10 // KiB, of both processes together
	await.That(t, fmt.Sprintf("they are within %d KiB", most), func() bool {
		return residentKiB(w.init.Process.Pid)+residentKiB(w.info.PID) <= most
	})
	t.Logf("init %d KiB, serve %d KiB", residentKiB(w.init.Process.Pid), residentKiB(w.info.PID))
}

func residentKiB(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		var n int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
			return n
		}
	}
	return 1 << 30
}

// TestInitLetsJobsEnd stops a workspace with a job. It checks that a client that waits for the job
// learns how the job itself ended, and that the job and its helpers have their grace.
func TestInitLetsJobsEnd(t *testing.T) {
	w := startWorkspace(t)
	script := `trap 'sleep 1; echo saved >'"$HOME"'/saved; exit 9' TERM; echo begun; while :; do sleep 0.1; done`
	w.output(w.ssh("ws", "keyway run -d -T --as caught -- sh -c '"+strings.ReplaceAll(script, "'", `'\''`)+"'"))
	w.output(w.ssh("ws", "keyway run -d -T --as plain -- sleep 1000"))
	var all sync.WaitGroup
	for name, want := range map[string]int{"caught": 9, "plain": 143} {
		cmd := w.ssh("ws", "keyway wait "+name)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		must(t, cmd.Start())
		all.Go(func() {
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != want {
				t.Errorf("wait %s: exit code %d, want %d: %s\n%s", name, code, want, &errs, w.news)
			}
		})
	}
	awaitWaiters(t, w, 2)
	must(t, w.init.Process.Signal(unix.SIGTERM))
	w.wait()
	all.Wait()
	if saved, _ := os.ReadFile(w.dir + "/saved"); string(saved) != "saved\n" {
		t.Errorf("it saved %q", saved)
	}
}

// awaitWaiters returns when n commands wait for jobs.
func awaitWaiters(t *testing.T, w *workspace, n int) {
	t.Helper()
	await.That(t, fmt.Sprintf("%d wait", n), func() bool {
		found := 0
		for _, p := range proctree.NewTree(proctree.All()).Below(w.info.PID, nil) {
			if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID)); strings.HasPrefix(string(line), "keyway\x00wait\x00") {
				found++
			}
		}
		return found == n
	})
}

// TestInitKillsJobsAfterTheirGrace checks that a job that does not end has exactly the grace of the
// stop command, and that its own end is reported.
func TestInitKillsJobsAfterTheirGrace(t *testing.T) {
	w := startWorkspace(t)
	w.output(w.ssh("ws", `keyway run -d -T --as deaf -- sh -c 'trap "" TERM; while :; do sleep 0.1; done'`))
	wait := w.ssh("ws", "keyway wait deaf")
	var errs bytes.Buffer
	wait.Stderr = &errs
	must(t, wait.Start())
	awaitWaiters(t, w, 1)
	must(t, os.WriteFile(w.home.GraceFile(), keyway.GraceText(200*time.Millisecond), 0o600))
	must(t, w.init.Process.Signal(unix.SIGTERM))
	w.wait()
	_ = wait.Wait()
	if code := wait.ProcessState.ExitCode(); code != 137 {
		t.Errorf("wait: exit code %d, want 137: %s\n%s", code, &errs, w.news)
	}
}

// TestInitLockIsAFile checks that a workspace that has replaced the lock's file can be started
// again, and that the target of a link there stays.
func TestInitLockIsAFile(t *testing.T) {
	kept := filepath.Join(t.TempDir(), "kept")
	must(t, os.WriteFile(kept, []byte("kept"), 0o644))
	for what, put := range map[string]func(path string) error{
		"a named pipe": func(path string) error { return unix.Mkfifo(path, 0o666) },
		"a directory":  func(path string) error { return os.MkdirAll(filepath.Join(path, "full"), 0o777) },
		"a link":       func(path string) error { return os.Symlink(kept, path) },
		"a loop":       func(path string) error { return os.Symlink("init.lock", path) },
		"a file":       func(path string) error { return os.WriteFile(path, []byte("12345\n"), 0o644) },
	} {
		home := t.TempDir()
		path := filepath.Join(home, "init.lock")
		must(t, put(path))
		must(t, os.WriteFile(keyway.Home(home).GraceFile(), keyway.GraceText(0), 0o644))
		f, err := takeInitLock(keyway.Home(home))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		f.Close()
		if data, err := os.ReadFile(path); err != nil || string(data) != fmt.Sprintln(os.Getpid()) {
			t.Errorf("%s: the lock has %q, %v", what, data, err)
		}
		if got := keyway.Home(home).Grace(); got != keyway.DefaultGrace {
			t.Errorf("%s: whoever stops it without a word gives it %v", what, got)
		}
	}
	if data, err := os.ReadFile(kept); err != nil || string(data) != "kept" {
		t.Errorf("what the link led to has %q, %v", data, err)
	}
}
