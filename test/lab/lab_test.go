//go:build linux

package lab_test

import (
	"context"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"keyway/test/lab"
)

var bin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "keyway-bin-")
	if err == nil {
		bin = dir
		err = buildTool(dir)
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func buildTool(dir string) error {
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "labtool"), "./labtool")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

func start(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	o.Bin, o.Say = bin, t.Logf
	l, err := lab.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(l.Dir()); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", l.Dir(), err)
		}
	})
	return l
}

func output(t *testing.T, h *lab.Host, name string, args ...string) string {
	t.Helper()
	out, err := h.Output(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// sshGPU makes the command ssh gpu1 with the key's passphrase at hand.
func sshGPU(l *lab.Lab, args ...string) *exec.Cmd {
	cmd := l.Laptop.Command("ssh", append([]string{"gpu1"}, args...)...)
	cmd.Env = append(cmd.Env, l.AskpassEnv()...)
	return cmd
}

func TestGPUMachineIsBehindTheBastion(t *testing.T) {
	t.Parallel()
	l := start(t, lab.Options{})
	out, err := sshGPU(l, "hostname; echo $SSH_CONNECTION").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if l.Mode == lab.Namespaces {
		if got, want := string(out), "gpu1\n"+l.Bastion.Address+" "; !strings.HasPrefix(got, want) {
			t.Errorf("ssh gpu1 says %q, want %q…", got, want)
		}
		if out, err := l.Laptop.Output("ssh", "-o", "ConnectTimeout=2", "-o", "ProxyJump=none", "gpu1", "true"); err == nil {
			t.Errorf("the laptop reaches the GPU machine directly: %s", out)
		}
	}
	if n := len(l.Prompts()); n != 2 { // once for each hop: there is no agent yet
		t.Errorf("%d questions for the passphrase, want 2: %q", n, l.Prompts())
	}
}

// TestFilesOfHostsAreTheirOwn checks that files that a test puts on a host of the lab stay on
// that host.
func TestFilesOfHostsAreTheirOwn(t *testing.T) {
	t.Parallel()
	l := start(t, lab.Options{})
	for _, h := range []*lab.Host{l.Bastion, l.GPU} {
		for _, dir := range []string{"/root", "/home", "/tmp", "/var/tmp", "/srv", "/run", "/etc", "/usr/local/bin", "/dev/shm"} {
			p := filepath.Join(dir, "of-"+h.Name+rand.Text())
			if err := h.WriteFile(p, "", 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(p); err == nil {
				os.Remove(p)
				t.Errorf("%s of %s is this machine's", dir, h.Name)
			}
		}
	}
}

// TestLoopback checks a machine on which namespaces are not permitted.
func TestLoopback(t *testing.T) {
	t.Parallel()
	l := start(t, lab.Options{Loopback: true})
	out, err := sshGPU(l, "echo $HOME").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, want := strings.TrimSpace(string(out)), l.GPU.Path("/root"); got != want {
		t.Errorf("HOME on the GPU machine is %q, want %q", got, want)
	}
	if err := l.Laptop.WriteFile("/root/x", "some\n", 0o600); err != nil {
		t.Fatal(err)
	}
	scp := l.Laptop.Command("scp", "-q", "x", "gpu1:y")
	scp.Env = append(scp.Env, l.AskpassEnv()...)
	if out, err := scp.CombinedOutput(); err != nil {
		t.Fatalf("scp: %v: %s", err, out)
	}
	if got, err := l.GPU.ReadFile("/root/y"); got != "some\n" {
		t.Errorf("the copy holds %q, %v", got, err)
	}
	l.Bastion.KillSSHD()
	if out, err := sshGPU(l, "true").CombinedOutput(); err == nil {
		t.Errorf("ssh through a killed bastion: %s", out)
	}
}

func TestDockerMakesImages(t *testing.T) {
	t.Parallel()
	l := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.NonRoot, lab.Static, lab.Busybox, lab.SSHD}})
	if l.DockerError != nil {
		t.Fatal(l.DockerError)
	}
	for _, c := range []struct {
		image lab.Image
		args  []string
		want  string
	}{
		{lab.Base, []string{"sh", "-c", "greet; echo $LAB_IMAGE"}, "hello from the image\nbase"},
		{lab.Base, []string{"python3", "-c", "import ssl, ctypes, hashlib, sqlite3; print(6*7)"}, "42"},
		{lab.NonRoot, []string{"id", "-un"}, "dev"},
		{lab.Static, []string{"/labtool", "say", "hello"}, "hello"},
		{lab.Busybox, []string{"sh", "-c", "echo *"}, "bin dev etc proc sys tmp"},
	} {
		got, err := l.Docker(append([]string{"run", "--rm", string(c.image)}, c.args...)...)
		if err != nil || got != c.want {
			t.Errorf("%s %q: %q, %v; want %q", c.image, c.args, got, err, c.want)
		}
	}
}

func TestBastionDiesAndReturns(t *testing.T) {
	t.Parallel()
	l := start(t, lab.Options{})
	cmd := sshGPU(l, "echo up; exec sleep 1000")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	l.Bastion.KillSSHD()
	if err := cmd.Wait(); err == nil {
		t.Error("ssh through a killed bastion ended well")
	}
	if left := l.Bastion.Processes("sshd"); len(left) != 0 {
		t.Errorf("sshd processes %v live on", left)
	}
	if err := l.Bastion.StartSSHD(); err != nil {
		t.Fatal(err)
	}
	if out, err := sshGPU(l, "true").CombinedOutput(); err != nil {
		t.Errorf("after the restart: %v: %s", err, out)
	}
}

func TestSlowLineTakesItsTime(t *testing.T) {
	t.Parallel()
	l := start(t, lab.Options{})
	needNamespaces(t, l)
	const oneWay = 50 * time.Millisecond
	before := connectTime(t, l)
	remove, err := l.Delay(l.Laptop, l.Bastion, oneWay)
	if err != nil {
		t.Fatal(err)
	}
	during := connectTime(t, l)
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	after := connectTime(t, l)
	if during < 2*oneWay || before >= 2*oneWay || after >= 2*oneWay {
		t.Errorf("connecting took %v before, %v over the slow line, %v after; one round trip of it is %v", before, during, after, 2*oneWay)
	}
}

// connectTime returns the time of TCP's handshake with the bastion, best of ten.
func connectTime(t *testing.T, l *lab.Lab) time.Duration {
	t.Helper()
	best := time.Hour
	for _, ns := range strings.Fields(output(t, l.Laptop, "labtool", "time", "10", "--", "nc", "-z", l.Bastion.Address, "22")) {
		n, err := strconv.Atoi(ns)
		if err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Duration(n))
	}
	return best
}

func TestCutAndRestore(t *testing.T) {
	t.Parallel()
	l := start(t, lab.Options{})
	needNamespaces(t, l)
	reaches := func() bool {
		_, err := l.Laptop.Output("nc", "-z", "-w", "1", l.Bastion.Address, "22")
		return err == nil
	}
	if !reaches() {
		t.Fatal("the bastion does not answer")
	}
	if err := l.Cut(l.Laptop, l.Bastion); err != nil {
		t.Fatal(err)
	}
	if reaches() {
		t.Error("the bastion answers through a cut cable")
	}
	if err := l.Restore(l.Laptop, l.Bastion); err != nil {
		t.Fatal(err)
	}
	if !reaches() {
		t.Error("the bastion does not answer after the cable is back")
	}
}

func TestCommandEndsWithUs(t *testing.T) {
	t.Parallel()
	l := start(t, lab.Options{})
	cmd := l.Laptop.Command("sh", "-c", "echo up; exec sleep 1000")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The kernel kills the command when its parent ends. Then no process has the other end of the
	// pipe.
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, stdout)
		ended <- err
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Errorf("what it ran lives on: %v", l.Laptop.Processes("sleep"))
	}
	_ = cmd.Wait()
}

// needNamespaces ends a test of namespaces on a machine that does not permit them.
func needNamespaces(t *testing.T, l *lab.Lab) {
	t.Helper()
	if l.Mode != lab.Namespaces {
		t.Skip("needs network namespaces")
	}
}

// TestKilledLabLeavesNothing starts a lab in a process of its own, and kills that process with a
// signal that cannot be caught. It checks that nothing of the lab is left.
func TestKilledLabLeavesNothing(t *testing.T) {
	if os.Getenv("LAB_TO_BE_KILLED") != "" {
		l, err := lab.Start(context.Background(), lab.Options{Bin: os.Getenv("LAB_TO_BE_KILLED"), Docker: true, Images: []lab.Image{lab.Busybox}})
		if err != nil || l.DockerError != nil {
			t.Fatal(err, l)
		}
		if _, err := l.Docker("run", "-d", string(lab.Busybox), "sleep", "1000"); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString(l.Dir() + "\n")
		select {}
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledLabLeavesNothing$")
	cmd.Env = append(os.Environ(), "LAB_TO_BE_KILLED="+bin)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := stdout.Read(buf)
	dir := strings.TrimSpace(string(buf[:n]))
	if err != nil || !strings.HasPrefix(dir, os.TempDir()) {
		t.Fatalf("%q, %v", dir, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	start(t, lab.Options{}) // removes the remains on disk and in control groups
	deadline := time.Now().Add(time.Minute)
	for {
		left := mentions(dir)
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes of the killed lab live on: %q", left)
		}
		time.Sleep(20 * time.Millisecond) // they are not our children: no event reports their end
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	if groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(dir)); len(groups) != 0 {
		t.Errorf("control groups are still there: %q", groups)
	}
}

// mentions returns the command lines of processes that hold s.
func mentions(s string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(line), s) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
