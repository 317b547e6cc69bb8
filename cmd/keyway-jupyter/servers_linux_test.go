package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keyway/internal/proctree"
	"keyway/test/await"
)

// lives reports whether a process runs.
func lives(pid int) bool {
	p, err := proctree.Read(pid)
	return err == nil && !p.Zombie
}

// said counts how often the program has said something.
func (w *world) said(t *testing.T, what string) int {
	t.Helper()
	log, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), what)
}

// TestServerOfAKilledProgram has the program end the Jupyter server that one before it has
// started, which was killed.
func TestServerOfAKilledProgram(t *testing.T) {
	w := startWorld(t)
	server := running()[0].PID
	w.killBoth(t)
	w.serve(t)
	if n := w.said(t, "using the Jupyter server that runs here"); n != 1 || !lives(server) {
		t.Fatalf("the Jupyter server does not go on: used %d times", n)
	}
	if n := w.said(t, "keeps its limits"); n != 0 {
		t.Error("our own server is said to have limits")
	}
	if err := syscall.Kill(w.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await.That(t, "the end of the Jupyter server", func() bool { return !lives(server) })
}

// TestServerOfSomebodyElse uses a server that somebody else has started, says once what
// that one drops, and does not end it.
func TestServerOfSomebodyElse(t *testing.T) {
	home := t.TempDir()
	_, argv, err := pick("")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(home, "theirs.sock")
	cmd := exec.Command(argv[0], append(argv[1:], "--no-browser", "--allow-root", "--ServerApp.sock="+socket, "--NotebookApp.sock="+socket)...)
	cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "JUPYTER_TOKEN=a-token-of-somebody-else", "JUPYTER_RUNTIME_DIR=" + filepath.Join(home, "runtime")}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	t.Setenv("JUPYTER_RUNTIME_DIR", filepath.Join(home, "runtime"))
	await.That(t, "their server", func() bool { all := running(); return len(all) == 1 && all[0].answers(t.Context()) })
	w := (&world{environ: []string{"JUPYTER_RUNTIME_DIR=" + filepath.Join(home, "runtime")}}).start(t)
	if n := w.said(t, "--ServerApp.iopub_msg_rate_limit=0"); n != 1 {
		t.Errorf("that it has limits is said %d times", n)
	}
	var r record
	if out, err := w.command("where").Output(); err != nil || json.Unmarshal(out, &r) != nil || r.Server != "found" {
		t.Errorf("%v: %s", err, out)
	}
	if err := syscall.Kill(w.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await.That(t, "the end of the program", func() bool { return !lives(w.pid) })
	if !lives(cmd.Process.Pid) {
		t.Error("the program has ended a server of somebody else's")
	}
}
