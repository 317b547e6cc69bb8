//go:build linux

package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"keyway/test/await"
)

// TestAShellThatStaysFetchesWithTheAgentOfWhoIsAttached checks that a shell in tmux in a session
// keeps the SSH_AUTH_SOCK that it began with. It fetches with the agent of the attached user, fails
// at once while no user is attached, and fetches again with the agent of the next user.
func TestAShellThatStaysFetchesWithTheAgentOfWhoIsAttached(t *testing.T) {
	w, server := startWorkspace(t), startWorkspace(t) // another workspace is the git server
	agent := sshAgent(t, w, "git-key")
	enterWith(t, w, server, agent)
	repository := newRepository(t, w, server)
	clone := repository + "-clone"
	w.output(w.command("git", "clone", "-q", repository, clone))
	w.output(w.command("git", "-C", clone, "remote", "set-url", "origin", "ssh://ws"+repository))
	w.output(w.command("git", "-C", clone, "config", "core.sshCommand", "ssh -F "+agentConfig(t, server)))

	// fetch returns the typed line; result is the file that it writes.
	fetch := func(result string) string {
		return "timeout 50 git -C " + clone + " fetch -q; echo $? >" + result + ".new; mv " + result + ".new " + result
	}
	result := func(name string) (code string) {
		await.That(t, "git fetch", func() bool {
			data, err := os.ReadFile(name)
			code = strings.TrimSpace(string(data))
			return err == nil
		})
		return code
	}
	attach := func(command string) (detach func()) {
		terminal, cmd := w.terminalClient(windowChange{Columns: 80, Rows: 24}, "-tA", "-o", "IdentityAgent="+agent, "ws", command)
		expect(t, terminal.master, "inner") // tmux's status line
		return func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	typeIn := func(text string) { w.output(w.ssh("ws", "keyway send nest -- '"+text+"' Enter")) }

	socket := filepath.Join(t.TempDir(), "tmux")
	t.Cleanup(func() { _ = w.command("tmux", "-S", socket, "kill-server").Run() })
	detach := attach("keyway run -t --as nest -- tmux -f /dev/null -S " + socket + " new-session -s inner sh")
	first, second, third := filepath.Join(w.dir, "first"), filepath.Join(w.dir, "second"), filepath.Join(w.dir, "third")
	typeIn(fetch(first))
	if code := result(first); code != "0" {
		t.Fatalf("with an agent, git fetch exits with %s", code)
	}
	detach()
	await.That(t, "the agent is gone", func() bool { return w.agentKeys().code != 0 })
	typeIn(fetch(second))
	if code := result(second); code == "0" || code == "124" {
		t.Fatalf("without an agent, git fetch exits with %s", code) // exit code 124: the command hung
	}
	commit(w, repository, "another")
	defer attach("keyway attach nest")()
	typeIn(fetch(third))
	if code := result(third); code != "0" {
		t.Fatalf("with an agent again, git fetch exits with %s", code)
	}
	there := w.output(w.command("git", "-C", repository, "rev-parse", "HEAD"))
	if here := w.output(w.command("git", "-C", clone, "rev-parse", "FETCH_HEAD")); here != there {
		t.Fatalf("fetched %q, want %q", here, there)
	}
}

// enterWith authorizes the agent's key at server.
func enterWith(t *testing.T, w, server *workspace, agent string) {
	t.Helper()
	list := w.command("ssh-add", "-L")
	list.Env = append(os.Environ(), "SSH_AUTH_SOCK="+agent)
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.output(list)))
	must(t, err)
	appendKey(t, server.home, key)
}

// agentConfig returns a client's configuration that has no key but an agent's.
func agentConfig(t *testing.T, server *workspace) string {
	t.Helper()
	text, err := os.ReadFile(server.config)
	must(t, err)
	var kept []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "Identit") {
			kept = append(kept, line)
		}
	}
	name := filepath.Join(t.TempDir(), "config")
	must(t, os.WriteFile(name, []byte(strings.Join(kept, "")+"  IdentityFile none\n  BatchMode yes\n"), 0o600))
	return name
}

// newRepository makes one with a commit.
func newRepository(t *testing.T, w, server *workspace) string {
	t.Helper()
	name := filepath.Join(server.dir, "repository")
	w.output(w.command("git", "init", "-q", name))
	commit(w, name, "first")
	return name
}

func commit(w *workspace, repository, message string) {
	w.t.Helper()
	w.output(w.command("git", "-C", repository, "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-q", "--allow-empty", "-m", message))
}
