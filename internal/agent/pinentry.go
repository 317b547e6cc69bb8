package agent

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// defaultPinentry is looked for on PATH.
const defaultPinentry = "pinentry"

// Pinentry asks with three buttons, by the program that GnuPG asks with too: once,
// for a while, or not at all. The user's SSH_ASKPASS comes before it.
type Pinentry struct {
	Program string // path or name; empty: pinentry
}

// CanAsk reports whether there is a program and a display or terminal to ask at.
func (p Pinentry) CanAsk() bool {
	if os.Getenv("SSH_ASKPASS") != "" || !hasDisplay() && os.Getenv("GPG_TTY") == "" {
		return false
	}
	_, err := exec.LookPath(p.program())
	return err == nil
}

func (p Pinentry) program() string {
	if p.Program == "" {
		return defaultPinentry
	}
	return p.Program
}

// Ask runs the program, and ends it when ctx ends.
func (p Pinentry) Ask(ctx context.Context, q Question) (Answer, error) {
	cmd := exec.CommandContext(ctx, p.program())
	// On a terminal it has settings to put back.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return Answer{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return Answer{}, err
	}
	if err := cmd.Start(); err != nil {
		return Answer{}, err
	}
	answer, err := confirmBy(&assuan{in: in, out: bufio.NewReaderSize(out, maxAssuanLine+2)}, q)
	in.Close()
	cmd.Wait()
	if ctx.Err() != nil {
		return Answer{}, context.Cause(ctx)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", p.program(), err)
	}
	answer.By = p.program()
	return answer, nil
}

// confirmBy asks the question with a pinentry. It trusts the button between yes and no only if the
// program has accepted the button's label and the window was not closed.
func confirmBy(a *assuan, q Question) (Answer, error) {
	if err := a.answer(); err != nil { // its greeting
		return Answer{}, err
	}
	locale := cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG"))
	for _, option := range []string{"ttyname=" + os.Getenv("GPG_TTY"), "ttytype=" + os.Getenv("TERM"), "lc-ctype=" + locale} {
		if !strings.HasSuffix(option, "=") {
			_ = a.command("OPTION", option) // one that it does not know does no harm
		}
	}
	buttons := []struct{ command, text string }{
		{"SETTITLE", "keyway"}, {"SETDESC", q.Text()}, {"SETOK", "Allow _once"}, {"SETCANCEL", "_Deny"},
	}
	for _, b := range buttons {
		if err := a.command(b.command, b.text); err != nil {
			return Answer{}, fmt.Errorf("%s: %w", b.command, err)
		}
	}
	graded := q.Grantable && a.command("SETNOTOK", "Allow for 15 _minutes") == nil
	_ = a.command("SETTIMEOUT", fmt.Sprint(int(answerWithin/time.Second))) // some have none; ours ends it all the same
	err := a.command("CONFIRM", "")
	var refused *assuanError
	switch {
	case err == nil:
		return Answer{Allow: true}, nil
	case !errors.As(err, &refused):
		return Answer{}, err
	case refused.code == gpgNotConfirmed && graded && !slices.Contains(a.status, "BUTTON_INFO close"):
		return Answer{Allow: true, For: grantedFor}, nil
	case refused.code == gpgNotConfirmed, refused.code == gpgCanceled:
		return Answer{}, nil
	case refused.code == gpgTimeout:
		return Answer{}, errors.New("nobody answered in time")
	}
	return Answer{}, err
}
