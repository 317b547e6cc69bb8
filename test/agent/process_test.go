//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// started is a background agent.
type started struct {
	place
	socket, forward string
	pid             int
}

// start starts the agent as users do, with the command prefix, which may change the user.
func (p place) start(t *testing.T, prefix ...string) started {
	t.Helper()
	s := started{place: p, socket: filepath.Join(p.dir, "run", "a"), forward: filepath.Join(p.dir, "run", "f")}
	out, err := p.run(t, 20*time.Second, p.dir, p.env(), append(prefix, p.program, "-s", "-a", s.socket, "-O", "forward="+s.forward)...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, after, _ := strings.Cut(out, "SSH_AGENT_PID=")
	text, _, _ := strings.Cut(after, ";")
	if s.pid, err = strconv.Atoi(text); err != nil {
		t.Fatalf("it said: %s", out)
	}
	t.Cleanup(func() { syscall.Kill(s.pid, syscall.SIGTERM); awaitGone(t, s.pid) })
	return s
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		// A zombie that no process in this container reaps has ended, too.
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(status), ") Z ") {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("process %d does not end", pid)
		}
	}
}

func (s started) add(t *testing.T, args ...string) (string, error) {
	return s.addAt(t, s.socket, args...)
}

func (s started) addAt(t *testing.T, socket string, args ...string) (string, error) {
	t.Helper()
	return s.run(t, 20*time.Second, s.dir, s.env("SSH_AUTH_SOCK="+socket), append([]string{"ssh-add"}, args...)...)
}

func (p place) key(t *testing.T, kind string) string {
	t.Helper()
	path := filepath.Join(p.dir, "id_"+kind)
	if out, err := p.run(t, 20*time.Second, p.dir, p.env(), "ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "me", "-f", path); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestSSHAdd(t *testing.T) {
	p := newPlace(t, "standard")
	s := p.start(t)
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		key := p.key(t, kind)
		for _, args := range [][]string{{"-q", key}, {"-T", key + ".pub"}, {"-q", "-d", key}, {"-q", "-t", "1000", key}} {
			if out, err := s.add(t, args...); err != nil {
				t.Errorf("ssh-add %v: %v: %s", args, err, out)
			}
		}
	}
	if out, err := s.add(t, "-l"); err != nil || strings.Count(out, "\n") != 3 {
		t.Errorf("%v: %s", err, out)
	}
	for _, args := range [][]string{{"-D"}, {"-q", filepath.Join(p.dir, "id_rsa")}, {"-x"}, {"-X"}} {
		if out, err := s.addAt(t, s.forward, args...); err == nil {
			t.Errorf("ssh-add %v from far away: %s", args, out)
		}
	}
	if out, err := s.add(t, "-L"); err != nil || strings.Count(out, "\n") != 3 {
		t.Errorf("%v: %s", err, out)
	}
	syscall.Kill(s.pid, syscall.SIGUSR1)
	late := time.After(time.Minute)
	for {
		if out, _ := s.add(t, "-l"); strings.Contains(out, "no identities") {
			break
		}
		select {
		case <-late:
			t.Fatal("SIGUSR1 forgets nothing")
		default:
		}
	}
}

// TestOtherProcesses checks the agent itself. OpenSSH's own test of this looks at a socket that
// only its owner can open anyway, and at a program that is set-group-ID.
func TestOtherProcesses(t *testing.T) {
	as := func(uid string) []string {
		return []string{"setpriv", "--reuid=" + uid, "--regid=" + uid, "--clear-groups", "--inh-caps=-all", "--ambient-caps=-all"}
	}
	p := newPlace(t, "standard")
	key := p.key(t, "ed25519")
	p.give(t, 1)
	s := p.start(t, as("1")...)
	if out, err := p.run(t, 20*time.Second, p.dir, p.env("SSH_AUTH_SOCK="+s.socket), append(as("1"), "ssh-add", "-q", key)...); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, path := range []string{s.socket, s.forward} {
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		if out, err := p.run(t, 20*time.Second, p.dir, p.env("SSH_AUTH_SOCK="+path), append(as("2"), "ssh-add", "-l")...); err == nil || strings.Contains(out, "SHA256") {
			t.Errorf("another user: %v: %s", err, out)
		}
	}
	for _, file := range []string{"mem", "environ", "maps"} {
		path := fmt.Sprintf("/proc/%d/%s", s.pid, file)
		if out, err := p.run(t, 20*time.Second, p.dir, p.env(), append(as("1"), "head", "-c1", path)...); err == nil {
			t.Errorf("the same user reads %s: %q", path, out)
		}
	}
	out, _ := p.run(t, 60*time.Second, p.dir, p.env(), append(as("1"), "gdb", "-batch", "-p", strconv.Itoa(s.pid))...)
	if !strings.Contains(out, "Operation not permitted") {
		t.Errorf("gdb attaches: %s", out)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.pid))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(status)), " "), "Max core file size 0 0") {
		t.Errorf("core dumps are allowed: %v", err)
	}
}

func TestCommandEndsTheAgent(t *testing.T) {
	p := newPlace(t, "standard")
	out, err := p.run(t, 30*time.Second, p.dir, p.env(), p.program, "sh", "-c", "echo $SSH_AGENT_PID; exit 7")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Fatalf("%v: %s", err, out)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	awaitGone(t, pid)
}

func TestWrongPolicyDoesNotStart(t *testing.T) {
	p := newPlace(t, "no-such-preset")
	out, err := p.run(t, 20*time.Second, p.dir, p.env(), p.program, "-s")
	if err == nil || !strings.Contains(out, "policy.yaml: line 1") || strings.Contains(out, "SSH_AUTH_SOCK") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestOutputIsThatOfSSHAgent checks that the output is ssh-agent's, because shells evaluate it.
func TestOutputIsThatOfSSHAgent(t *testing.T) {
	stock, err := exec.LookPath("ssh-agent")
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, "standard")
	shape := func(program, shell string, args ...string) string {
		socket := filepath.Join(p.dir, "run", "s")
		os.Remove(socket)
		out, err := p.run(t, 20*time.Second, p.dir, append(p.env(), "SHELL="+shell), append([]string{program, "-a", socket}, args...)...)
		if err != nil {
			return err.Error()
		}
		pid := out[strings.LastIndex(out, " ")+1 : strings.LastIndex(out, ";")]
		kill, err := p.run(t, 20*time.Second, p.dir, append(p.env(), "SHELL="+shell, "SSH_AGENT_PID="+pid), program, "-k")
		if err != nil {
			t.Error(err)
		}
		return strings.ReplaceAll(out+kill, pid, "PID")
	}
	for _, c := range [][]string{{"/bin/sh"}, {"/bin/csh"}, {"/bin/csh", "-s"}, {"/bin/sh", "-c"}} {
		theirs, ours := shape(stock, c[0], c[1:]...), shape(p.program, c[0], c[1:]...)
		if ours != theirs {
			t.Errorf("%v:\n%s\nssh-agent:\n%s", c, ours, theirs)
		}
	}
	for _, args := range [][]string{{"-s", "-c"}, {"-k"}, {"-Z"}, {"-t", "x"}, {"-t"}, {"-k", "sh"}} {
		_, errTheirs := p.run(t, 20*time.Second, p.dir, p.env(), append([]string{stock}, args...)...)
		_, errOurs := p.run(t, 20*time.Second, p.dir, p.env(), append([]string{p.program}, args...)...)
		if fmt.Sprint(errTheirs) != fmt.Sprint(errOurs) {
			t.Errorf("%v: %v, ssh-agent: %v", args, errOurs, errTheirs)
		}
	}
}
