package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"keyway/internal/bounded"
)

// defaultAskpass is the path at which packages install askpass.
const defaultAskpass = "/usr/bin/ssh-askpass"

const maxAskpassOutput = 1 << 10

// Askpass asks by the program that SSH_ASKPASS names, under ssh-add's contract for confirmations
// (ssh(1), SSH_ASKPASS_PROMPT=confirm): it exits with 0 for yes. Most such programs have no other
// answers, and a yes holds once. A program may also print one of the other words in KEYWAY_ANSWERS.
type Askpass struct{}

// CanAsk reports whether there is a program and a display to show it on.
func (Askpass) CanAsk() bool { return AskpassProgram() != "" }

// AskpassProgram returns the program that OpenSSH would ask by without a terminal, or "" if there is
// none or no display to show it on.
func AskpassProgram() string {
	program, required := os.Getenv("SSH_ASKPASS"), os.Getenv("SSH_ASKPASS_REQUIRE")
	switch {
	case required == "never", !hasDisplay() && required != "force" && required != "prefer":
		return ""
	case program != "":
		return program
	}
	if info, err := os.Stat(defaultAskpass); err == nil && info.Mode()&0o111 != 0 {
		return defaultAskpass
	}
	return ""
}

func hasDisplay() bool { return os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "" }

// Prompt is a text that an askpass program shows.
type Prompt struct {
	Text   string
	Kind   string    // as in SSH_ASKPASS_PROMPT; empty: an answer is typed
	Max    int       // bounds the answer, in bytes
	Env    []string  // further variables
	Stderr io.Writer // may be nil
}

// AskBy runs the program until it has answered or ctx ends, and returns its output. The error is
// that of exec.Cmd.Run.
func (p Prompt) AskBy(ctx context.Context, program string) (string, error) {
	cmd := exec.CommandContext(ctx, program, p.Text)
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), p.Env...)
	if p.Kind != "" {
		cmd.Env = append(cmd.Env, "SSH_ASKPASS_PROMPT="+p.Kind)
	}
	out := &bounded.Buffer{Max: p.Max}
	cmd.Stdout, cmd.Stderr = out, p.Stderr
	err := cmd.Run()
	return out.String(), err
}

// Ask runs the program, and ends it when ctx ends.
func (Askpass) Ask(ctx context.Context, q Question) (Answer, error) {
	program := AskpassProgram()
	if program == "" {
		return Answer{}, errors.New("there is no program to ask with")
	}
	said, err := Prompt{
		Text: q.Text(), Kind: "confirm", Max: maxAskpassOutput, Env: []string{"KEYWAY_ANSWERS=" + choiceWords(q.Grantable)},
	}.AskBy(ctx, program)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return Answer{}, context.Cause(ctx)
	case errors.As(err, &exit):
		return Answer{By: program}, nil
	case err != nil:
		return Answer{}, err
	}
	if said = strings.TrimSpace(said); said == "" {
		said = "yes"
	}
	return ParseAnswer(said, program), nil
}
