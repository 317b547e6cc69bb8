package docker_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/internal/engine"
	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
)

// strangerUID is a user that this machine does not know.
const strangerUID = 61234

func TestSockets(t *testing.T) {
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: closed, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	silent := filepath.Join(dir, "silent.sock")
	hangUp(t, silent)
	for name, c := range map[string]struct {
		socket string
		opts   []docker.Option
		path   string // PATH
		kind   keyway.Kind
		next   string
	}{
		"not running":        {filepath.Join(dir, "none.sock"), nil, os.Getenv("PATH"), keyway.EngineDown, "systemctl start docker"},
		"refused":            {closed, nil, os.Getenv("PATH"), keyway.EngineDown, "systemctl start docker"},
		"no daemon":          {silent, nil, os.Getenv("PATH"), keyway.EngineDown, "ss -xlp"},
		"podman not running": {filepath.Join(dir, "none.sock"), []docker.Option{docker.Podman()}, os.Getenv("PATH"), keyway.EngineDown, "podman.socket"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", c.path)
			e, err := docker.New(t.TempDir(), engine.Guest{}, append(c.opts, docker.Host("unix://"+c.socket))...)
			if err != nil {
				t.Fatal(err)
			}
			spec := keyway.Spec{Name: "x", Image: "x", Access: keyway.Access{AuthorizedKeys: []string{enginetest.AuthorizedKey(t)}}}
			_, createErr := e.Create(enginetest.Context(t), spec, enginetest.Quiet)
			_, listErr := e.List(enginetest.Context(t))
			_, dialErr := e.Dial(enginetest.Context(t), "x")
			for what, err := range map[string]error{
				"Probe": e.Probe(enginetest.Context(t)), "Create": createErr, "List": listErr, "Dial": dialErr,
				"Stop": e.Stop(enginetest.Context(t), "x", time.Second), "Start": e.Start(enginetest.Context(t), "x"), "Remove": e.Remove(enginetest.Context(t), "x"),
			} {
				enginetest.WantKind(t, err, c.kind)
				if !strings.Contains(keyway.AsError(err).Help(), c.next) {
					t.Errorf("%s: %s", what, enginetest.Full(err))
				}
			}
			t.Log(enginetest.Full(e.Probe(enginetest.Context(t))))
		})
	}
}

// hangUp accepts every connection and closes it at once.
func hangUp(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
}

// The next tests run parts of this test program as another user.
const (
	envSocket = "KEYWAY_TEST_SOCKET"
	envImage  = "KEYWAY_TEST_IMAGE"
	envRoot   = "KEYWAY_TEST_ROOT"
	envGuest  = "KEYWAY_TEST_GUEST"
)

// asStranger runs the named test as another user, with gid as its group, which is that of docker's
// socket or not. It returns the output.
func asStranger(t *testing.T, test string, gid uint32, env ...string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The program is in a directory that only its builder can enter.
	program := filepath.Join(workDir, "stranger.test")
	if out, err := exec.Command("cp", exe, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(program, "-test.v", "-test.run", "^"+test+"$")
	cmd.Dir = workDir
	cmd.Env = append(os.Environ(), append(env, "HOME="+workDir, "TMPDIR="+strangersDir(t), envGuest+"="+programs.Guest.Dir)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: strangerUID, Gid: strangerUID, Groups: []uint32{gid}}}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("as another user: %v\n%s", err, &out)
	}
	return out.String()
}

func strangersDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(workDir, fmt.Sprintf("stranger-%d", count.Add(1)))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, strangerUID, strangerUID); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestForbidden(t *testing.T) {
	if os.Getenv(envSocket) != "" {
		t.Log("covered by the test that started this one")
		return
	}
	said := asStranger(t, "TestStrangerIsForbidden", strangerUID, envSocket+"="+localDocker)
	if !strings.Contains(said, "usermod -aG docker") || !strings.Contains(said, "permission denied") {
		t.Errorf("it said: %s", said)
	}
}

// TestStrangerIsForbidden is not a test of its own: TestForbidden runs it as another user.
func TestStrangerIsForbidden(t *testing.T) {
	socket := os.Getenv(envSocket)
	if socket == "" {
		return
	}
	e, err := docker.New(t.TempDir(), engine.Guest{}, docker.Host(socket))
	if err != nil {
		t.Fatal(err)
	}
	err = e.Probe(enginetest.Context(t))
	enginetest.WantKind(t, err, keyway.EngineForbidden)
	t.Log(enginetest.Full(err))
}

// TestSweep checks that a user without root can remove a workspace whose root has left files.
func TestSweep(t *testing.T) {
	st, err := os.Stat(strings.TrimPrefix(localDocker, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	d := onDaemon(t, localDocker)
	root := strangersDir(t)
	asStranger(t, "TestStrangerSweeps", st.Sys().(*syscall.Stat_t).Gid, envImage+"="+d.image, envRoot+"="+root)
	if entries, err := os.ReadDir(filepath.Join(root, "workspaces")); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestStrangerSweeps is not a test of its own: TestSweep runs it as another user.
func TestStrangerSweeps(t *testing.T) {
	image := os.Getenv(envImage)
	if image == "" {
		return
	}
	guest := engine.Guest{Dir: os.Getenv(envGuest), Version: "test"}
	e, err := docker.New(os.Getenv(envRoot), guest, docker.Host(localDocker), docker.Owner(fmt.Sprintf("stranger%d", os.Getpid())))
	if err != nil {
		t.Fatal(err)
	}
	s := enginetest.Subject{Engine: e, Image: image, Tool: "/tool"}
	w := s.Create(t, s.Spec(t, "swept"))
	session, err := s.Client(t, w).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	// A session's directory belongs to root, and no other user can enter it.
	if out, err := session.CombinedOutput("keyway run -d -- /tool hang"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if list, err := e.List(enginetest.Context(t)); err != nil || len(list) != 1 || list[0].State != keyway.Running {
		t.Errorf("List: %+v, %v", list, err)
	}
	// The user can back up every file in the home directory.
	if out, err := exec.Command("tar", "-cf", "/dev/null", "-C", os.Getenv(envRoot), ".").CombinedOutput(); err != nil {
		t.Errorf("a backup fails: %v: %s", err, out)
	}
	if err := e.Remove(enginetest.Context(t), "swept"); err != nil {
		t.Fatal(enginetest.Full(err))
	}
}

// TestFallback checks a daemon in another mount namespace: the Podman of the lab has a /run of its
// own, so it does not see a state directory there.
func TestFallback(t *testing.T) {
	podman := startPodman(t)
	d := onDaemon(t, podman.Host)
	w := d.world(t)
	hidden, err := os.MkdirTemp("/run", "keyway-docker-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(hidden)
	e, err := docker.New(hidden, programs.Guest, docker.Host(d.host), docker.Owner(w.owner))
	if err != nil {
		t.Fatal(err)
	}
	w.Engine, w.root = e, hidden
	testFallback(t, w)
}

// TestFallbackOfDocker checks the same as TestFallback, with a dockerd.
func TestFallbackOfDocker(t *testing.T) {
	hidden, err := os.MkdirTemp("", "keyway-docker-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(hidden)
	blind, err := startBlindDocker(t, hidden)
	if err != nil {
		t.Fatal(err)
	}
	d := onDaemon(t, blind.Host)
	w := d.world(t)
	e, err := docker.New(hidden, programs.Guest, docker.Host(d.host), docker.Owner(w.owner))
	if err != nil {
		t.Fatal(err)
	}
	w.Engine, w.root = e, hidden
	testFallback(t, w)
}

func testFallback(t *testing.T, w world) {
	t.Helper()
	var news []string
	made, err := w.Engine.Create(enginetest.Context(t), w.Spec(t, "far"), func(p keyway.Progress) { news = append(news, p.Message) })
	if err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if said := strings.Join(news, "\n"); !strings.Contains(said, "does not see this machine's files") {
		t.Errorf("the news are %q", said)
	}
	if got := w.Run(t, made, "env KEYWAY_WORKSPACE"); got != "far" {
		t.Errorf("inside: %q", got)
	}
	if listed, _ := w.State(t, "far"); listed.State != keyway.Running || listed.Sessions != 0 {
		t.Errorf("List tells %+v", listed)
	}
	if err := w.Engine.Remove(enginetest.Context(t), "far"); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if left := append(w.files(t), w.containers(t)...); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
