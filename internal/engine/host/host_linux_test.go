package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"keyway/internal/api"
	"keyway/internal/engine/enginetest"
	"keyway/internal/engine/host"
	"keyway/internal/keyway"
)

var programs enginetest.Programs

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "keyway-host-test-")
	if err == nil {
		defer os.RemoveAll(dir)
		programs, err = enginetest.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// subject returns an engine with a root of its own.
func subject(t *testing.T, opts ...host.Option) (enginetest.Subject, string) {
	root := t.TempDir()
	return enginetest.Subject{
		Engine: host.New(root, programs.Guest, opts...), Tool: programs.Tool, Dials: 100,
		Abilities:   []string{api.AbilityGPUs, api.AbilityEnvironments},
		Home:        func(name keyway.Name) string { return filepath.Join(root, "workspaces", string(name)) },
		Left:        func(t testing.TB) []string { return append(files(t, root), processes(root)...) },
		Kill:        func(t testing.TB, name keyway.Name) { killInit(t, root, name, syscall.SIGKILL) },
		StopOutside: func(_ context.Context, name keyway.Name) error { killInit(t, root, name, syscall.SIGTERM); return nil },
	}, root
}

func files(t testing.TB, root string) []string {
	entries, err := os.ReadDir(filepath.Join(root, "workspaces"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// processes returns the processes that have root in their command lines or environment.
func processes(root string) []string {
	var list []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if filepath.Base(dir) == strconv.Itoa(os.Getpid()) {
			continue
		}
		cmd, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if strings.Contains(string(cmd)+string(env), root+"/") {
			list = append(list, "process "+filepath.Base(dir)+" "+strings.ReplaceAll(string(cmd), "\x00", " ")+" of "+workspaceOf(string(env)))
		}
	}
	return list
}

func workspaceOf(env string) string {
	for _, kv := range strings.Split(env, "\x00") {
		if name, ok := strings.CutPrefix(kv, keyway.EnvName+"="); ok {
			return name
		}
	}
	return ""
}

func killInit(t testing.TB, root string, name keyway.Name, sig syscall.Signal) {
	data, err := os.ReadFile(filepath.Join(root, "workspaces", string(name), "init.lock"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	s, _ := subject(t)
	enginetest.Run(t, s)
}

func TestRefusals(t *testing.T) {
	s, _ := subject(t)
	for name, c := range map[string]struct {
		kind   keyway.Kind
		change func(*keyway.Spec)
	}{
		"two words":     {keyway.Usage, func(s *keyway.Spec) { s.GPUs.All, s.Env = true, map[string]string{"CUDA_VISIBLE_DEVICES": "0"} }},
		"all GPUs":      {keyway.NoGPU, func(s *keyway.Spec) { s.GPUs.All = true }},
		"a GPU":         {keyway.NoGPU, func(s *keyway.Spec) { s.GPUs.IDs = []string{"0"} }},
		"some GPUs":     {keyway.NoGPU, func(s *keyway.Spec) { s.GPUs.Count = 2 }},
		"shm":           {keyway.Usage, func(s *keyway.Spec) { s.ShmSize = 1 << 30 }},
		"read-only":     {keyway.Usage, func(s *keyway.Spec) { s.ReadOnly = true }},
		"another user":  {keyway.Usage, func(s *keyway.Spec) { s.User = "65533" }},
		"a mount":       {keyway.Usage, func(s *keyway.Spec) { s.Mounts = []keyway.Mount{{Source: "/tmp", Target: "/mnt"}} }},
		"no mount":      {keyway.Usage, func(s *keyway.Spec) { s.Mounts = []keyway.Mount{{Source: "/nowhere", Target: "/nowhere"}} }},
		"no directory":  {keyway.Usage, func(s *keyway.Spec) { s.Workdir = "/nowhere" }},
		"not directory": {keyway.Usage, func(s *keyway.Spec) { s.Workdir = "/etc/passwd" }},
	} {
		t.Run(name, func(t *testing.T) {
			spec := s.Spec(t, "refused")
			c.change(&spec)
			_, err := s.Engine.Create(enginetest.Context(t), spec, enginetest.Quiet)
			enginetest.WantKind(t, err, c.kind)
			s.WantNothingOf(t, "refused")
		})
	}
}

func TestAcceptsWhatChangesNothing(t *testing.T) {
	s, _ := subject(t)
	spec := s.Spec(t, "same")
	spec.User = strconv.Itoa(os.Getuid())
	spec.Mounts = []keyway.Mount{{Source: "/tmp", Target: "/tmp"}}
	spec.Image = "some/image"
	var news []string
	if _, err := s.Engine.Create(enginetest.Context(t), spec, func(p keyway.Progress) { news = append(news, p.Message) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Engine.Remove(enginetest.Context(t), "same"); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(news, func(m string) bool { return strings.Contains(m, "some/image is not used") }) {
		t.Errorf("the news are %q", news)
	}
}

// TestStopEndsStrays kills the first process of a workspace, which alone knows the others. It
// checks that Stop ends the others nevertheless.
func TestStopEndsStrays(t *testing.T) {
	s, root := subject(t)
	w := s.Create(t, s.Spec(t, "strays"))
	session, err := s.Client(t, w).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if out, err := session.CombinedOutput("keyway run -d -- " + s.Tool + " hang"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	killInit(t, root, w.Name, syscall.SIGKILL)
	s.Await(t, w.Name, keyway.Stopped)
	if err := s.Engine.Stop(enginetest.Context(t), w.Name, time.Second); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if left := processes(root); len(left) > 0 {
		t.Errorf("after Stop there are left: %q", left)
	}
}

func TestStopThatCannotTellItsGrace(t *testing.T) {
	s, _ := subject(t)
	s.GraceUntold(t, keyway.Home(s.Home("untold")))
}

// TestNothingOfTheConnectionGetsIn checks that a workspace has no variable of the ssh connection
// that made it.
func TestNothingOfTheConnectionGetsIn(t *testing.T) {
	t.Setenv("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22")
	t.Setenv("SSH_TTY", "/dev/pts/9")
	t.Setenv("TERMINFO_KEPT", "yes")
	s, _ := subject(t)
	w := s.Create(t, s.Spec(t, "clean"))
	if got := s.Run(t, w, "env SSH_TTY"); got != "" {
		t.Errorf("SSH_TTY is %q inside", got)
	}
	if got := s.Run(t, w, "env TERMINFO_KEPT"); got != "yes" {
		t.Errorf("a variable of the login is %q inside", got)
	}
}

func TestBrokenGuest(t *testing.T) {
	s, root := subject(t)
	w := s.Create(t, s.Spec(t, "broken"))
	now, _ := s.State(t, w.Name)
	if err := syscall.Kill(now.Guest.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if now := s.Await(t, w.Name, keyway.Broken); now.Reason == "" {
		t.Error("List does not say why it is broken")
	}
	if err := s.Engine.Start(enginetest.Context(t), w.Name); err != nil {
		t.Fatalf("Start of a broken one: %v", enginetest.Full(err))
	}
	if got := s.Run(t, w, "env "+keyway.EnvName); got != "broken" {
		t.Errorf("after Start: %q", got)
	}
	if err := s.Engine.Remove(enginetest.Context(t), w.Name); err != nil {
		t.Fatal(err)
	}
	if left := processes(root); len(left) > 0 {
		t.Errorf("there are left: %q", left)
	}
}

// TestAWorkspaceInAScopeOfItsOwn checks a machine where a logout ends the processes of a login. The
// workspace is started in a scope of the user's own manager, here a stand-in that records the
// request, and the creator is told.
func TestAWorkspaceInAScopeOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("USER", "ada")
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	noted := filepath.Join(dir, "noted")
	manager := "#!/bin/sh\necho \"$*\" >>" + noted + "\nuntil [ \"$1\" = -- ]; do shift; done; shift; exec \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "systemd-run"), []byte(manager), 0o700); err != nil {
		t.Fatal(err)
	}
	s, _ := subject(t, host.MachineIs(fstest.MapFS{
		"proc/self/cgroup":           {Data: []byte("0::/user.slice/user-1000.slice/session-3.scope\n")},
		"etc/systemd/logind.conf":    {Data: []byte("KillUserProcesses=yes\n")},
		"var/lib/systemd/linger/ada": {},
	}))
	var told []string
	w, err := s.Engine.Create(enginetest.Context(t), s.Spec(t, "scoped"), func(p keyway.Progress) { told = append(told, p.Message) })
	if err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if got := s.Run(t, w, "env "+keyway.EnvName); got != "scoped" {
		t.Errorf("inside is %q", got)
	}
	if asked, _ := os.ReadFile(noted); !strings.Contains(string(asked), "--user --scope --quiet --collect -- "+s.Home("scoped")+"/bin/keyway-guest init") {
		t.Errorf("the manager was asked: %s", asked)
	}
	if !slices.ContainsFunc(told, func(m string) bool { return strings.Contains(m, "in a scope of your own") }) {
		t.Errorf("told was %q", told)
	}
	if err := s.Engine.Remove(enginetest.Context(t), "scoped"); err != nil {
		t.Error(enginetest.Full(err))
	}
}
