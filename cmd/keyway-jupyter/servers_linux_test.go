package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// said returns how often a text is in the program's log.
func (w *world) said(t *testing.T, what string) int {
	t.Helper()
	log, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), what)
}

// TestServerOfAKilledProgram checks that the program ends a Jupyter server that an earlier, killed
// program has started.
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

// TestServerOfSomebodyElse checks that the program uses a running server of another origin, warns
// once of that server's limits, and does not end it.
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

// TestWorkspacesOfOneUser checks two workspaces with one home directory: each has its own address,
// Jupyter server and kernels. Only the first inherits the state of an earlier version.
func TestWorkspacesOfOneUser(t *testing.T) {
	home := t.TempDir()
	const left = "the-token-that-an-earlier-version-made"
	old := filepath.Join(home, ".local/state/keyway/jupyter")
	kept := filepath.Join("kernels", "01234567-89ab-cdef-0123-456789abcdef", "session")
	for name, text := range map[string]string{"lock": "", "token": left + "\n", kept: "keyway-old"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(old, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(old, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := (&world{home: home, environ: []string{"KEYWAY_HOME=" + filepath.Join(home, "a")}}).start(t)
	b := &world{program: a.program, dir: a.dir, log: a.log, environ: append([]string{"KEYWAY_HOME=" + filepath.Join(home, "b")}, a.environ[1:]...)}
	b.serve(t)
	if a.front.token != left || b.front.token == left || a.front.socket == b.front.socket {
		t.Errorf("the addresses are %v and %v", a.front, b.front)
	}
	if n := len(running()); n != 2 {
		t.Errorf("%d Jupyter servers run", n)
	}
	var kernels []struct{ ID string }
	a.front.call(t, "POST", "/api/kernels", map[string]string{"name": "python3"}, nil)
	if b.front.call(t, "GET", "/api/kernels", nil, &kernels); len(kernels) != 0 {
		t.Errorf("one workspace has the kernels of the other: %v", kernels)
	}
}

// TestWhereOfAnEarlierVersion checks that where finds a record in the user's home directory, unless
// the record belongs to another workspace.
func TestWhereOfAnEarlierVersion(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_STATE_HOME", home)
	old := filepath.Join(home, "keyway/jupyter")
	if err := os.MkdirAll(old, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := listen(filepath.Join(old, "front.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here := filepath.Join(home, "here")
	for workspace, want := range map[string]bool{here: true, "/elsewhere": false} {
		t.Setenv("KEYWAY_HOME", workspace)
		theirs := exec.Command("sleep", "1000")
		theirs.Env = append(os.Environ(), "KEYWAY_HOME="+workspace)
		if err := theirs.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = theirs.Process.Kill(); _ = theirs.Wait() }()
		await.That(t, "the program", func() bool {
			env, _ := proctree.Environment(theirs.Process.Pid)
			return slices.Contains(env, "KEYWAY_HOME="+workspace)
		})
		data, _ := json.Marshal(record{Socket: filepath.Join(old, "front.sock"), Token: "x", PID: theirs.Process.Pid})
		if err := os.WriteFile(recordPath(old), data, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("KEYWAY_HOME", here)
		var out bytes.Buffer
		if err := where(&out, 0); (err == nil) != want {
			t.Errorf("of %s: %v", workspace, err)
		}
	}
}
