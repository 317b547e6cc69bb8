package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"keyway/internal/api"
	"keyway/internal/engine"
	"keyway/internal/engine/docker"
	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
)

var (
	programs enginetest.Programs
	// workDir holds the state directories. It is not below TMPDIR of a test,
	// because a container's mounts may keep that busy for a moment.
	workDir string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if dir := os.Getenv(envGuest); dir != "" { // see asStranger
		workDir = os.Getenv("TMPDIR")
		programs.Guest, programs.Tool = engine.Guest{Dir: dir, Version: keyway.Version}, filepath.Join(filepath.Dir(dir), "tool")
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "keyway-docker-test-")
	if err == nil {
		defer os.RemoveAll(dir)
		workDir = dir
		err = os.Chmod(dir, 0o755) // also for tests as another user
	}
	if err == nil {
		programs, err = enginetest.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop, err := ensureDaemon()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	return m.Run()
}

// ensureDaemon starts this machine's dockerd where none runs, as a service
// manager would, and stops it again.
func ensureDaemon() (stop func(), err error) {
	if exec.Command("docker", "-H", localDocker, "version").Run() == nil {
		return func() {}, nil
	}
	log, err := os.CreateTemp("", "keyway-dockerd-*.log")
	if err != nil {
		return nil, err
	}
	defer os.Remove(log.Name())
	d := exec.Command("dockerd", "--host", localDocker)
	d.Stdout, d.Stderr = log, log
	if err := d.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Wait() }()
	stop = func() {
		_ = d.Process.Signal(syscall.SIGTERM)
		<-ended
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if exec.Command("docker", "-H", localDocker, "version").Run() == nil {
			return stop, nil
		}
		select {
		case err := <-ended:
			said, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("dockerd ended: %w: %s", err, said)
		default:
		}
	}
	stop()
	return nil, fmt.Errorf("dockerd does not answer at %s", localDocker)
}

// localDocker is this machine's daemon.
const localDocker = "unix:///var/run/docker.sock"

// daemon is a daemon under test with an image in it.
type daemon struct {
	host   string
	client *client.Client
	image  string
}

var count atomic.Int64

// onDaemon loads an image that contains only the tool into a daemon, without a registry, and
// removes it when the test ends.
func onDaemon(t testing.TB, host string, changes ...string) daemon {
	t.Helper()
	c, err := client.New(client.WithHost(host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	d := daemon{host: host, client: c, image: fmt.Sprintf("keyway-test-%d-%d:latest", os.Getpid(), count.Add(1))}
	d.importImage(t, d.image, "", append(changes, "ENV "+enginetest.Given+"=by-the-image")...)
	return d
}

func (d daemon) importImage(t testing.TB, name, platform string, changes ...string) {
	t.Helper()
	ctx := enginetest.Context(t)
	repo, tag, _ := strings.Cut(name, ":")
	stream, err := d.client.ImageImport(ctx, client.ImageImportSource{Source: bytes.NewReader(toolTar(t)), SourceName: "-"}, repo,
		client.ImageImportOptions{Tag: tag, Changes: changes})
	if err != nil {
		t.Fatalf("importing %s: %v", name, err)
	}
	defer stream.Close()
	if _, err := new(bytes.Buffer).ReadFrom(stream); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := d.client.ImageRemove(context.Background(), name, client.ImageRemoveOptions{Force: true}); err != nil {
			t.Errorf("removing the image %s: %v", name, err)
		}
	})
}

func toolTar(t testing.TB) []byte {
	t.Helper()
	tool, err := os.ReadFile(programs.Tool)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "tool", Mode: 0o755, Size: int64(len(tool))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(tool); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// world is an engine with an owner and a root of its own.
type world struct {
	enginetest.Subject
	daemon daemon
	owner  string
	root   string
}

func (d daemon) world(t testing.TB, opts ...docker.Option) world {
	t.Helper()
	w := world{daemon: d, owner: fmt.Sprintf("test%d-%d", os.Getpid(), count.Add(1))}
	w.root = filepath.Join(workDir, w.owner)
	e, err := docker.New(w.root, programs.Guest, append([]docker.Option{docker.Host(d.host), docker.Owner(w.owner)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	volumes := w.volumes(t)
	w.Subject = enginetest.Subject{
		Engine: e, Image: d.image, Tool: "/tool", Walled: true, Dials: 100,
		Abilities: []string{api.AbilityGPUs, api.AbilityEnvironments, api.AbilityImages, api.AbilityAdopt},
		Kill:      w.kill, StopOutside: w.stopOutside, ContainerOf: w.container,
		Left: func(t testing.TB) []string {
			left := append(w.files(t), w.containers(t)...)
			for name := range w.volumes(t) {
				if !volumes[name] {
					left = append(left, "volume "+name)
				}
			}
			return left
		},
	}
	return w
}

func (w world) files(t testing.TB) []string {
	entries, err := os.ReadDir(filepath.Join(w.root, "workspaces"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func (w world) containers(t testing.TB) []string {
	found, err := w.daemon.client.ContainerList(enginetest.Context(t), client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", "dev.keyway.owner="+w.owner),
	})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, c := range found.Items {
		list = append(list, strings.Join(c.Names, " "))
	}
	return list
}

func (w world) volumes(t testing.TB) map[string]bool {
	found, err := w.daemon.client.VolumeList(enginetest.Context(t), client.VolumeListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, v := range found.Items {
		names[v.Name] = true
	}
	return names
}

func (w world) container(name keyway.Name) string { return "keyway-" + w.owner + "-" + string(name) }

func (w world) kill(t testing.TB, name keyway.Name) {
	found, err := w.daemon.client.ContainerInspect(enginetest.Context(t), w.container(name), client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(found.Container.State.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func (w world) tool(args ...string) *exec.Cmd {
	cmd := exec.Command("docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+w.daemon.host)
	return cmd
}

var _ engine.Engine = (*docker.Engine)(nil)

func (w world) stopOutside(ctx context.Context, name keyway.Name) error {
	_, err := w.daemon.client.ContainerStop(ctx, w.container(name), client.ContainerStopOptions{})
	return err
}

func (w world) killByAPI(t testing.TB, name keyway.Name) {
	if _, err := w.daemon.client.ContainerKill(enginetest.Context(t), w.container(name), client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatal(err)
	}
}

func atoi(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
