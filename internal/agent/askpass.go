package agent

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"
)

// defaultAskpass is where packages put the program that asks.
const defaultAskpass = "/usr/bin/ssh-askpass"

const maxAskpassOutput = 1 << 10

// Askpass asks by the program that SSH_ASKPASS names, under ssh-add's contract
// for confirmations (ssh(1), SSH_ASKPASS_PROMPT=confirm): it exits with 0 for
// yes. It can only say yes or no, so its answers hold once.
type Askpass struct{}

// CanAsk says whether there is a program and a display to show it on.
func (Askpass) CanAsk() bool { return askpassProgram() != "" }

func askpassProgram() string {
	program, required := os.Getenv("SSH_ASKPASS"), os.Getenv("SSH_ASKPASS_REQUIRE")
	display := os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
	switch {
	case required == "never", !display && required != "force" && required != "prefer":
		return ""
	case program != "":
		return program
	}
	if info, err := os.Stat(defaultAskpass); err == nil && info.Mode()&0o111 != 0 {
		return defaultAskpass
	}
	return ""
}

// Ask runs the program, and ends it when ctx ends.
func (Askpass) Ask(ctx context.Context, q Question) (Answer, error) {
	program := askpassProgram()
	if program == "" {
		return Answer{}, errors.New("there is no program to ask with")
	}
	cmd := exec.CommandContext(ctx, program, q.Text())
	cmd.Env = append(os.Environ(), "SSH_ASKPASS_PROMPT=confirm")
	cmd.WaitDelay = time.Second
	out := &limitedBuffer{}
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
	return Answer{Allow: said == "" || strings.EqualFold(said, "yes"), By: program}, nil
}

// limitedBuffer keeps the beginning of what is written to it.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if room := maxAskpassOutput - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
