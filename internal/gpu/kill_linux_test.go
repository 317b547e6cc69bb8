package gpu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/proctree"
)

// The test program is also what makes a workspace, and the workspace's first process.
const (
	envRole = "KEYWAY_GPU_ROLE" // maker or workspace
	envDir  = "KEYWAY_GPU_DIR"  // of the leases
	envKill = "KEYWAY_GPU_KILL" // the maker kills itself before that step; 0: never
	envWait = "KEYWAY_GPU_WAIT" // the maker waits for its GPUs
)

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "maker":
		os.Exit(playMaker())
	case "workspace":
		os.Exit(playWorkspace())
	}
	os.Exit(m.Run())
}

// mortal is a store whose user is killed before a step.
type mortal struct {
	directory
	left *int
}

func (m mortal) step() {
	if *m.left--; *m.left == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (m mortal) lock(ctx context.Context) (func(), error) {
	m.step()
	unlock, err := m.directory.lock(ctx)
	if err != nil {
		return nil, err
	}
	return func() { m.step(); unlock() }, nil
}

func (m mortal) hold(name string) (holding, error) {
	m.step()
	h, err := m.directory.hold(name)
	if err != nil {
		return nil, err
	}
	return mortalHolding{h, m}, nil
}

func (m mortal) look(name string) ([]byte, bool, error) {
	m.step()
	return m.directory.look(name)
}

type mortalHolding struct {
	holding
	mortal
}

func (h mortalHolding) write(data []byte) error { h.step(); return h.holding.write(data) }
func (h mortalHolding) release(remove bool)     { h.step(); h.holding.release(remove) }

func twoGPUs(context.Context) (Inventory, error) {
	return Inventory{Devices: []Device{{Index: "0", UUID: "GPU-0"}, {Index: "1", UUID: "GPU-1"}}}, nil
}

// playMaker makes a workspace that has both GPUs.
func playMaker() int {
	steps, _ := strconv.Atoi(os.Getenv(envKill))
	p := &Pool{ask: twoGPUs, store: mortal{directory{os.Getenv(envDir)}, &steps}, procs: machine{}}
	who := Holder{Owner: strconv.Itoa(os.Getuid()), Workspace: "train", Engine: "host"}
	grant, err := p.Take(context.Background(), Request{Holder: who, GPUs: keyway.GPUs{All: true, Wait: os.Getenv(envWait) != ""}}, func(keyway.Progress) {})
	if err != nil {
		fmt.Println("refused:", err)
		return 0
	}
	workspace := exec.Command(os.Args[0])
	workspace.Env = append(os.Environ(), envRole+"=workspace")
	workspace.Stdout, workspace.SysProcAttr = os.Stdout, &syscall.SysProcAttr{Setsid: true}
	key, err := workspace.StdinPipe()
	if err == nil {
		err = workspace.Start()
	}
	if err == nil {
		err = grant.Bind(workspace.Process.Pid)
	}
	if err == nil {
		_, err = io.WriteString(key, "key\n")
	}
	grant.Close()
	if err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	return 0
}

// playWorkspace computes once it has its key; without one it ends.
func playWorkspace() int {
	if line, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil || line != "key\n" {
		return 1
	}
	fmt.Println("computes", os.Getpid())
	time.Sleep(10 * time.Minute) // the test kills it
	return 0
}

// users makes workspaces on one machine, as two owners.
type users struct {
	t       *testing.T
	program string
	leases  string
}

// outcome is the result of a maker: the output of the maker or of its workspace, "" if both have
// ended without any, and how the maker ended.
type outcome struct {
	said   string
	killed bool
}

func (u users) up(uid, kill int, wait bool) outcome {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, u.program)
	cmd.Env = append(os.Environ(), envRole+"=maker", envDir+"="+u.leases, envKill+"="+strconv.Itoa(kill))
	if wait {
		cmd.Env = append(cmd.Env, envWait+"=yes")
	}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	r, w, err := os.Pipe()
	if err != nil {
		u.t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		u.t.Fatal(err)
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		u.t.Fatal("the maker does not end")
	}
	state, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	// The pipe ends with the workspace, if that ends.
	said, _ := bufio.NewReader(r).ReadString('\n')
	if err != nil && !state.Signaled() {
		u.t.Fatalf("the maker: %v: %s", err, said)
	}
	return outcome{strings.TrimSpace(said), state.Signaled()}
}

// end kills the workspace of an outcome, and returns when it is dead.
func (u users) end(o outcome) {
	u.t.Helper()
	pid, err := strconv.Atoi(strings.TrimPrefix(o.said, "computes "))
	if err != nil {
		u.t.Fatalf("it says %q", o.said)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		u.t.Error(err)
	}
	for deadline := time.Now().Add(time.Minute); (machine{}).start(pid) != ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			u.t.Fatal("a killed workspace does not end")
		}
	}
}

// TestKilledAtEveryStep kills the process that makes a workspace before each of its steps. It
// checks that a workspace that computes keeps its GPUs, and that one that does not leaves them free
// for another owner.
func TestKilledAtEveryStep(t *testing.T) {
	dir, err := os.MkdirTemp("", "keyway-gpu-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	u := users{t, filepath.Join(dir, "maker"), filepath.Join(dir, "shared", "leases")}
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.WriteFile(u.program, program, 0o755), os.Mkdir(filepath.Dir(u.leases), 0o755), os.Chmod(filepath.Dir(u.leases), shared),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const ada, bob = 64001, 64002
	computed := 0
	for step := 1; ; step++ {
		first := u.up(ada, step, false)
		if first.said == "" && !first.killed {
			t.Fatalf("before step %d: the maker ended without a word", step)
		}
		if first.said != "" {
			computed++
			if second := u.up(bob, 0, false); !strings.HasPrefix(second.said, "refused:") || !strings.Contains(second.said, "train") {
				t.Fatalf("killed before step %d: one computes, and the other's up says %q", step, second.said)
			}
			u.end(first)
		}
		second := u.up(bob, 0, true)
		if !strings.HasPrefix(second.said, "computes") {
			t.Fatalf("killed before step %d: the GPUs are not free: %q", step, second.said)
		}
		u.end(second)
		if !first.killed {
			t.Logf("%d steps; after %d of them the workspace computes", step-1, computed-1)
			if step < 10 || computed < 2 {
				t.Error("the maker is not killed where it should be")
			}
			return
		}
	}
}

// TestDirectory checks directories that must not count as a shared one. In a directory that keyway
// makes, no user removes files of another.
func TestDirectory(t *testing.T) {
	made := filepath.Join(t.TempDir(), "leases")
	g, err := (&Pool{ask: twoGPUs, store: directory{made}, procs: machine{}}).Take(context.Background(), Request{GPUs: keyway.GPUs{All: true}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
	if st, err := os.Stat(made); err != nil || st.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	for name, lay := range map[string]func(path string) error{
		"a link":           func(path string) error { return os.Symlink(t.TempDir(), path) },
		"a file":           func(path string) error { return os.WriteFile(path, nil, 0o666) },
		"a lease is a dir": func(path string) error { return os.MkdirAll(filepath.Join(path, leaseFile("GPU-0")), 0o777) },
		"a lease is a fifo": func(path string) error {
			if err := os.Mkdir(path, 0o777); err != nil {
				return err
			}
			return syscall.Mkfifo(filepath.Join(path, leaseFile("GPU-0")), 0o666)
		},
		"a lease is a link": func(path string) error {
			if err := os.Mkdir(path, 0o777); err != nil {
				return err
			}
			other := filepath.Join(t.TempDir(), "of-somebody")
			return errors.Join(os.WriteFile(other, []byte("kept"), 0o600), os.Symlink(other, filepath.Join(path, leaseFile("GPU-0"))))
		},
	} {
		path := filepath.Join(t.TempDir(), "leases")
		if err := lay(path); err != nil {
			t.Fatal(err)
		}
		p := &Pool{ask: twoGPUs, store: directory{path}, procs: machine{}}
		_, err := p.Take(context.Background(), Request{GPUs: keyway.GPUs{All: true}}, nil)
		if !keyway.Is(err, keyway.NoGPU) || keyway.AsError(err).Help() == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGarbageIsNoLease checks that text that others have written into a lease lends nothing.
func TestGarbageIsNoLease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	p := &Pool{ask: twoGPUs, store: directory{path}, procs: machine{}}
	take := func() error {
		g, err := p.Take(context.Background(), Request{GPUs: keyway.GPUs{All: true}}, nil)
		g.Close()
		return err
	}
	if err := take(); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Format(time.RFC3339)
	for _, garbage := range []string{
		"", "{", strings.Repeat("x", maxFile), "\x00\x01", `{"pid":-1}`, `{"pid":1,"proctree.Boot":"another"}`, `{"pid":999999999,"start":"1","boot":"` + proctree.Boot() + `"}`,
		`{"pid":` + strconv.Itoa(os.Getpid()) + `,"start":"1","boot":"` + proctree.Boot() + `"}`, `{"since":"` + now + `"}`,
	} {
		if err := os.WriteFile(filepath.Join(path, leaseFile("GPU-0")), []byte(garbage+strings.Repeat(" ", max(0, maxFile-len(garbage)))), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := take(); err != nil {
			t.Errorf("%.40q is taken for a lease: %v", garbage, err)
		}
	}
}
