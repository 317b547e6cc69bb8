package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"keyway/internal/agent"
	"keyway/internal/api"
)

// envAskpass names the variable with the user's SSH_ASKPASS while this program stands in for
// that.
const envAskpass = "KEYWAY_ASKPASS"

// askpassEnv returns env changed so that OpenSSH's programs use SSH_ASKPASS when there is no
// terminal, even without a display. Otherwise they would read standard input and take its end for
// an empty passphrase, so that a new key would have none. The variable names program, which is
// this one: ssh-add repeats its question until the passphrase is right, and a script with a wrong
// passphrase would answer forever.
func askpassEnv(env []string, program string) []string {
	theirs := os.Getenv("SSH_ASKPASS")
	if theirs == "" || hasTerminal() {
		return env
	}
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		return strings.HasPrefix(kv, "SSH_ASKPASS=") || strings.HasPrefix(kv, "SSH_ASKPASS_REQUIRE=")
	})
	return append(env, "SSH_ASKPASS="+program, "SSH_ASKPASS_REQUIRE=force", envAskpass+"="+theirs)
}

// again is the beginning of the question that ssh-add asks after a wrong passphrase.
const again = "Bad passphrase"

// standIn runs the user's SSH_ASKPASS if this process was started in its place. In that case ok
// is true, and the process must exit with code.
func standIn(args []string) (code int, ok bool) {
	theirs := os.Getenv(envAskpass)
	if theirs == "" || len(args) != 1 {
		return 0, false
	}
	if strings.HasPrefix(args[0], again) {
		return 1, true
	}
	cmd := exec.Command(theirs, args[0])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode(), true
	}
	return 1, true
}

// askBy asks a question by the user's SSH_ASKPASS, as ssh itself does without a terminal: an editor
// shows its own window. No answer means no.
func askBy(ctx context.Context, program string, q api.Question) api.Answer {
	var text strings.Builder
	for _, w := range q.Said {
		say(&text, w)
	}
	text.WriteString(promptText(q))
	p := agent.Prompt{Text: text.String(), Max: maxAnswer, Stderr: os.Stderr}
	switch q.Kind {
	case "confirm":
		p.Kind = q.Kind
	case "none": // it shows, until ctx ends, that a key waits to be touched
		p.Kind = q.Kind
		notices.Go(func() { _, _ = p.AskBy(ctx, program) })
		return api.Answer{OK: true}
	}
	said, err := p.AskBy(ctx, program)
	if err != nil {
		return api.Answer{}
	}
	line, _, _ := strings.Cut(said, "\n")
	return api.Answer{OK: true, Text: strings.TrimSuffix(line, "\r")}
}

// notices are the askpass programs that only show something. Each ends with the command's request. The
// process waits for them, or their windows would stay.
var notices sync.WaitGroup

// maxAnswer bounds the answer of an askpass program, in bytes.
const maxAnswer = 4 << 10

// hasTerminal reports whether the process has a controlling terminal.
func hasTerminal() bool {
	tty, err := openTerminal()
	if err != nil {
		return false
	}
	tty.Close()
	return true
}
