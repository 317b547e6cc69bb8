//go:build linux

package guest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestArgumentsArriveAsTyped checks that arguments which shells would interpret reach a job
// unchanged, with each login shell and with start files that print.
func TestArgumentsArriveAsTyped(t *testing.T) {
	every := make([]byte, 0, 255)
	for b := 1; b < 256; b++ {
		every = append(every, byte(b))
	}
	words := []string{"", `a\\b`, `'`, `"`, "!!", "a\nb", "$HOME", "~", "*", "\x01\x02", string(every), " ", "--", "-c"}
	for len(strings.Join(words, "")) < 1<<20 {
		words = append(words, strings.Repeat(string(every), 400))
	}
	for _, shell := range []string{"bash", "fish", "tcsh", "zsh"} {
		t.Run(shell, func(t *testing.T) {
			w := startWorkspaceAs(t, shell)
			if w.info.Shell == "" || filepath.Base(w.info.Shell) != shell {
				t.Fatalf("the login shell is %s", w.info.Shell)
			}
			for _, file := range []string{".bashrc", ".zshenv", ".tcshrc", ".cshrc", ".config/fish/config.fish"} {
				path := filepath.Join(w.dir, file)
				must(t, os.MkdirAll(filepath.Dir(path), 0o755))
				must(t, os.WriteFile(path, []byte("echo printed by a start file\n"), 0o644))
			}
			args := append([]string{"run", "-T", "--", "sh", "-c", `printf '%s\0' "$@"`, "sh"}, words...)
			cmd := w.ssh("-o", "SendEnv="+keyway.EnvArgv+"*", "ws", "keyway for-older-guests")
			cmd.Env = append(cmd.Env, keyway.EncodeArgv(args)...)
			r := w.run(cmd)
			want := strings.Join(words, "\x00") + "\x00"
			if r.code != 0 || !bytes.Equal([]byte(r.stdout), []byte(want)) {
				t.Errorf("exit %d: %d bytes, want %d; %.200q", r.code, len(r.stdout), len(want), r.stderr)
			}
			if out := w.output(w.ssh("ws", "keyway ls --json")); !strings.Contains(out, `"ended"`) || !strings.Contains(out, `"name": "job-1"`) || !strings.Contains(out, `"started"`) {
				t.Errorf("typed by a person: %.300s", out)
			}
		})
	}
}

// TestWordsOfAnotherCommand checks that variables that a client sends with a command other than
// keyway's run nothing.
func TestWordsOfAnotherCommand(t *testing.T) {
	w := startWorkspaceAs(t, "bash")
	left := keyway.EncodeArgv([]string{"run", "-d", "--as", "again", "--", "true"})
	for _, command := range []string{"echo in", "sh -c 'echo in'", "keyway-jupyter || echo in", "/bin/echo in"} {
		cmd := w.ssh("-o", "SendEnv="+keyway.EnvArgv+"*", "ws", command)
		cmd.Env = append(cmd.Env, left...)
		if r := w.run(cmd); r.code != 0 || r.stdout != "in\n" {
			t.Errorf("%s: exit %d, %q %q", command, r.code, r.stdout, r.stderr)
		}
	}
	if out := w.output(w.ssh("ws", "keyway ls --json")); strings.Contains(out, "again") {
		t.Errorf("the words have run: %s", out)
	}
}
