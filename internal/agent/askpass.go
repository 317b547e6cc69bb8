package agent

import (
	"context"
	"errors"
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

// Ask runs the program, and ends it when ctx ends.
func (Askpass) Ask(ctx context.Context, q Question) (Answer, error) {
	program := AskpassProgram()
	if program == "" {
		return Answer{}, errors.New("there is no program to ask with")
	}
	cmd := exec.CommandContext(ctx, program, q.Text())
	cmd.Env = append(os.Environ(), "SSH_ASKPASS_PROMPT=confirm", "KEYWAY_ANSWERS="+choiceWords(q.Grantable))
	cmd.WaitDelay = time.Second
	out := &bounded.Buffer{Max: maxAskpassOutput}
	cmd.Stdout = out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return Answer{}, context.Cause(ctx)
	case errors.As(err, &exit):
		return Answer{By: program}, nil
	case err != nil:
		return Answer{}, err
	}
	said := strings.TrimSpace(out.String())
	if said == "" {
		said = "yes"
	}
	return ParseAnswer(said, program), nil
}
