//go:build linux

package guest

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/test/await"
)

// sshAgent starts a real agent that holds one new key with that comment.
func sshAgent(t *testing.T, w *workspace, comment string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent.sock")
	agent := w.command("ssh-agent", "-D", "-a", socket)
	must(t, agent.Start())
	t.Cleanup(func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	})
	await.That(t, "the agent listens", func() bool { _, err := os.Stat(socket); return err == nil })
	key := filepath.Join(t.TempDir(), "key")
	w.output(w.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", key))
	add := w.command("ssh-add", "-q", key)
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	w.output(add)
	return socket
}

// forwardAgent connects with the agent forwarded until the returned function is
// called.
func (w *workspace) forwardAgent(socket string) (leave func()) {
	w.t.Helper()
	_, leave = w.forwardingSSH(socket)
	return leave
}

// forwardingSSH is forwardAgent, and returns the client as well.
func (w *workspace) forwardingSSH(socket string) (cmd *exec.Cmd, leave func()) {
	w.t.Helper()
	cmd = w.ssh("-A", "ws", "echo ready; cat")
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	in, err := cmd.StdinPipe()
	must(w.t, err)
	out, err := cmd.StdoutPipe()
	must(w.t, err)
	must(w.t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		w.t.Fatalf("%q %v", line, err)
	}
	return cmd, func() {
		in.Close()
		_ = cmd.Wait()
	}
}

// agentKeys returns the keys that a program in the workspace sees.
func (w *workspace) agentKeys() result {
	cmd := w.command("ssh-add", "-l")
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+w.home.AgentSocket())
	return w.run(cmd)
}

func TestAgentIsTheNewestConnections(t *testing.T) {
	w := startWorkspace(t)
	first, second := sshAgent(t, w, "first-key"), sshAgent(t, w, "second-key")
	if r := w.agentKeys(); r.code == 0 || strings.Contains(r.stdout, "key") {
		t.Fatalf("nobody has offered an agent, but %+v", r)
	}
	leaveFirst := w.forwardAgent(first)
	if r := w.agentKeys(); !strings.Contains(r.stdout, "first-key") {
		t.Fatalf("got %+v", r)
	}
	leaveSecond := w.forwardAgent(second)
	if r := w.agentKeys(); !strings.Contains(r.stdout, "second-key") {
		t.Fatalf("got %+v", r)
	}
	leaveSecond()
	await.That(t, "the older one is asked again", func() bool { return strings.Contains(w.agentKeys().stdout, "first-key") })
	leaveFirst()
	await.That(t, "there is none", func() bool { return w.agentKeys().code != 0 })
}

// A connection whose laptop does not answer is skipped while there is another one. If it is the
// only one, the guest waits for it.
func TestAgentOfALaptopThatIsAway(t *testing.T) {
	t.Parallel()
	w := startWorkspace(t)
	leaveFirst := w.forwardAgent(sshAgent(t, w, "first-key"))
	second, leaveSecond := w.forwardingSSH(sshAgent(t, w, "second-key"))
	defer leaveSecond()
	must(t, second.Process.Signal(syscall.SIGSTOP))
	wake := func() { _ = second.Process.Signal(syscall.SIGCONT) }
	defer wake()
	if r := w.agentKeys(); !strings.Contains(r.stdout, "first-key") {
		t.Errorf("while the newest is away: %+v", r)
	}
	leaveFirst()
	time.AfterFunc(agentTimeout+time.Second, wake)
	if r := w.agentKeys(); !strings.Contains(r.stdout, "second-key") {
		t.Errorf("the only one was away for a while: %+v", r)
	}
}

func TestConnectionWithoutAgentIsNotAsked(t *testing.T) {
	w := startWorkspace(t)
	leave := w.forwardAgent(sshAgent(t, w, "the-key"))
	defer leave()
	w.output(w.ssh("ws", "true"))
	if r := w.agentKeys(); !strings.Contains(r.stdout, "the-key") {
		t.Fatalf("got %+v", r)
	}
}

func TestAgentSocketClosesAtOnceWithoutAgent(t *testing.T) {
	w := startWorkspace(t)
	conn := dialUnix(t, w.home.AgentSocket())
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("got %d bytes, %v", n, err)
	}
	info, err := os.Stat(w.home.AgentSocket())
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", info.Mode())
	}
}

func appendKey(t *testing.T, home keyway.Home, key ssh.PublicKey) {
	t.Helper()
	f, err := os.OpenFile(home.AuthorizedKeys(), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	_, err = f.Write(ssh.MarshalAuthorizedKey(key))
	must(t, err)
}
