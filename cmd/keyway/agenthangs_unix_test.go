//go:build unix

package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"

	"keyway/internal/unixsock"
)

// TestAHangingAgentIsNamed checks that the user of an ssh is told which agent does not answer.
func TestAHangingAgentIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, answers := range map[string]bool{"silent": false, "awake": true} {
		socket := filepath.Join(dir, name)
		l, err := unixsock.Listen(socket, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if answers {
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					go agent.ServeAgent(agent.NewKeyring(), conn)
				}
			}()
		}
		said := func() string {
			var out strings.Builder
			sayAgentHangs(&out, socket)
			return out.String()
		}
		want := ""
		if !answers {
			want = "keyway: the agent " + socket + " does not answer, and ssh waits for it\n"
		}
		got := said()
		for end := time.Now().Add(time.Minute); answers && got != want && time.Now().Before(end); got = said() {
			// A busy machine may delay the agent of this process for as long as one may be silent.
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	var out strings.Builder
	if sayAgentHangs(&out, ""); out.Len() > 0 {
		t.Errorf("without an agent: %q", out.String())
	}
}
