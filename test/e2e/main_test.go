//go:build linux

// Package e2e tests the real programs against each other: keyway as it is built, stock OpenSSH and
// other clients, on the lab's three machines. The tests that break nothing share one lab with one
// workspace; a test of a fault starts a lab of its own.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"keyway/test/lab"
	"keyway/test/lab/run"
)

var (
	bin    string // the built programs, in the shared lab
	shared *world
)

// train is the shared workspace, made from lab.Base.
const train = "train"

func TestMain(m *testing.M) { run.Main(m, "e2e", runAll) }

func runAll(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if err := lab.Install(ctx, "test"); err != nil {
		return 1, err
	}
	l, err := lab.Start(ctx, lab.Options{Docker: true, Images: []lab.Image{lab.Base, lab.NonRoot, lab.Shells, lab.Static, lab.Busybox}})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if l.DockerError != nil {
		return 1, l.DockerError
	}
	shared, bin = &world{l}, l.Bin
	if err := shared.unlockAndUp(); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// unlockAndUp runs the commands that a user types before the first ssh train.
func (w *world) unlockAndUp() error {
	for _, argv := range [][]string{
		{"keyway", "init", "--yes"},
		{"keyway", "unlock"},
		{"keyway", "up", "--on", "gpu1", "--image", string(lab.Base), "--name", train},
	} {
		if r := w.do(argv...); r.Code != 0 {
			return fmt.Errorf("%s", r)
		}
	}
	return nil
}

// world is a lab with the tests' methods.
type world struct{ *lab.Lab }

// start makes a lab for one test, which may break it.
func start(t *testing.T, o lab.Options) *world {
	t.Helper()
	return startWith(t, bin, o)
}

// startWith is start with other programs.
func startWith(t *testing.T, bin string, o lab.Options) *world {
	t.Helper()
	o.Bin = bin
	l, err := lab.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logFile(t, l.Laptop, "/root/.local/state/keyway/link.log")
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if o.Docker && l.DockerError != nil {
		t.Fatal(l.DockerError)
	}
	return &world{l}
}

func logFile(t *testing.T, h *lab.Host, path string) {
	t.Helper()
	if text, err := h.ReadFile(path); err == nil {
		t.Logf("%s on %s:\n%s", path, h.Name, text)
	}
}

type result = run.Result

// patience bounds the time of a command. It is far longer than any command takes, so that a hang
// fails one test and not the run.
const patience = 3 * time.Minute

// command prepares a command on the laptop, with the lab's askpass program for questions.
func (w *world) command(argv ...string) *exec.Cmd {
	cmd := w.Laptop.Command(argv[0], argv[1:]...)
	cmd.Env = append(cmd.Env, w.AskpassEnv()...)
	return cmd
}

// do runs a command on the laptop.
func (w *world) do(argv ...string) result { return w.finish(w.command(argv...), "") }

// finish runs cmd with text as its standard input, and calls started as soon as
// it runs.
func (w *world) finish(cmd *exec.Cmd, stdin string, started ...func()) result {
	name := strings.Join(cmd.Args[4:], " ")
	if w.Mode == lab.Loopback {
		name = strings.Join(cmd.Args, " ")
	}
	return run.Command(cmd, name, stdin, patience, started...)
}

// must runs a command that must succeed and returns its standard output.
func (w *world) must(t *testing.T, argv ...string) string {
	t.Helper()
	r := w.do(argv...)
	if r.Code != 0 {
		t.Fatal(r)
	}
	return r.Stdout
}

// mustFeed is must with standard input.
func (w *world) mustFeed(t *testing.T, stdin string, argv ...string) string {
	t.Helper()
	r := w.finish(w.command(argv...), stdin)
	if r.Code != 0 {
		t.Fatal(r)
	}
	return r.Stdout
}

// up makes a workspace for one test and removes it afterwards.
func (w *world) up(t *testing.T, name string, args ...string) {
	t.Helper()
	w.must(t, append([]string{"keyway", "up", "--on", "gpu1", "--name", name}, args...)...)
	t.Cleanup(func() { w.must(t, "keyway", "rm", name) })
}

// write puts a file onto the laptop.
func (w *world) write(t *testing.T, path, content string) {
	t.Helper()
	if err := w.Laptop.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// agent returns the laptop's agent socket, for clients that do not read ssh_config.
func (w *world) agent(t *testing.T) string {
	t.Helper()
	return sshOption(t, w, train, "identityagent")
}

// sshOption returns the value of an option that ssh would use for a host.
func sshOption(t *testing.T, w *world, host, option string) string {
	t.Helper()
	for line := range strings.Lines(w.must(t, "ssh", "-G", host)) {
		if value, ok := strings.CutPrefix(line, option+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("ssh -G %s says nothing of %s", host, option)
	return ""
}

// hostKey returns the shared workspace's host key in authorized_keys form.
func (w *world) hostKey(t *testing.T) string {
	t.Helper()
	known, err := w.Laptop.ReadFile(sshOption(t, w, train, "userknownhostsfile"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(known) {
		if key, ok := strings.CutPrefix(line, train+".keyway "); ok {
			return strings.TrimSpace(key)
		}
	}
	t.Fatalf("no host key of %s in %q", train, known)
	return ""
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, run.Clip(got), run.Clip(want))
	}
}

func holds(t *testing.T, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: %q, want something with %q", what, run.Clip(got), want)
	}
}
