package agent

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"keyway/internal/policy"
)

// play runs a scenario against the agent at path and returns the answers.
func (s scenario) play(t *testing.T, path string) [][]byte {
	t.Helper()
	setup := dial(t, path)
	for _, m := range s.setup {
		setup.expect(t, "setup", m, true)
	}
	c := dial(t, path)
	var answers [][]byte
	for _, e := range s.steps {
		if e.fresh {
			c = dial(t, path)
		}
		answer, err := c.ask(e.message)
		if err != nil {
			t.Fatalf("%s: %v", e.what, err)
		}
		answers = append(answers, answer)
	}
	return answers
}

// TestScenarios checks the agent's answer to each message, under both presets.
func TestScenarios(t *testing.T) {
	for _, preset := range []struct {
		name   string
		policy func() *policy.Policy
		want   func(exchange) bool
	}{
		{"standard", policy.Standard, func(e exchange) bool { return e.ours }},
		{"openssh", policy.OpenSSH, func(e exchange) bool { return e.openssh }},
	} {
		t.Run(preset.name, func(t *testing.T) {
			for _, s := range scenarios() {
				t.Run(s.name, func(t *testing.T) {
					a := start(t, Config{Policy: preset.policy, Providers: DefaultProviders})
					for i, answer := range s.play(t, a.local) {
						e := s.steps[i]
						if want := preset.want(e); yes(answer) != want {
							t.Errorf("step %d, %s: answered %d, want %v", i+1, e.what, answer[0], want)
						}
					}
				})
			}
		})
	}
}

// TestAgainstSSHAgent sends the same bytes to ssh-agent. keyway's agent must refuse everything
// that it refuses, except requests that newer versions grant.
func TestAgainstSSHAgent(t *testing.T) {
	stock, err := exec.LookPath("ssh-agent")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			theirs := s.play(t, startStock(t, stock))
			ours := s.play(t, start(t, Config{Policy: policy.OpenSSH, Providers: DefaultProviders}).local)
			for i, e := range s.steps {
				if yes(theirs[i]) != e.stock {
					t.Errorf("step %d, %s: ssh-agent answered %d, the table says %v", i+1, e.what, theirs[i][0], e.stock)
				}
				if yes(ours[i]) && !yes(theirs[i]) && e.why == "" {
					t.Errorf("step %d, %s: we grant what ssh-agent refuses", i+1, e.what)
				}
				if e.message[0] == msgList && !subset(listed(ours[i]), listed(theirs[i])) {
					t.Errorf("step %d, %s: we show a key that ssh-agent hides", i+1, e.what)
				}
			}
		})
	}
}

func startStock(t testing.TB, program string) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kws")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	cmd := exec.Command(program, "-D", "-a", socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		os.RemoveAll(dir)
	})
	// It listens before it prints its socket.
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	return socket
}
