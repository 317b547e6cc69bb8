package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// inside runs the keyway command of the workspace over the user's ssh. Its output, its
// questions and its exit code reach the user as if it ran here.
type inside struct {
	// terminal says that the command is shown on the user's terminal, and gets one.
	terminal bool
	// out is where its answers go; nil: standard output.
	out io.Writer
}

// run runs the command. A workspace that does not run is an error of kind NotRunning; see
// refused for others. Otherwise the command's exit status, or ssh's, is the error.
func (i inside) run(ctx context.Context, name string, args ...string) error {
	a, entry, err := appFor(name)
	if err != nil {
		return err
	}
	var stored outputs
	if i.out == nil {
		i.out = stored.of(os.Stdout)
	}
	errs := stored.of(os.Stderr)
	own, err := newSSHWords()
	if err != nil {
		return err
	}
	defer own.remove()
	options := own.options()
	if i.terminal {
		// The program in the workspace that shows the job handles the escapes: ssh's own take
		// a pasted line that is ~. for its end, and the rest is typed into the shell here.
		options = append(options, "-t", "-o", "EscapeChar=none")
	}
	ssh, err := a.InsideCommand(context.WithoutCancel(ctx), entry.Name, options, args...) // which gets the signals
	if err != nil {
		return err
	}
	code, err := runChild(ssh, i.terminal, i.out, errs)
	var killed errKilled
	switch {
	case stored.lost() != nil:
		err = notWritten(stored.lost())
	case errors.As(err, &killed):
		complain(os.Stderr, keyway.Errorf(keyway.Other, "the ssh that showed %s was ended by %s, and the connection with it", entry.Name, killed.signal).
			Hint("see what runs: keyway ls %s", entry.Name))
		err = exitStatus(sshFailed)
	case err == nil && code == sshFailed:
		err = a.refused(ctx, entry, own.text())
		said := strings.HasPrefix(own.text(), proxyEnded) // by the proxy command
		switch better := keyway.Is(err, keyway.NotRunning) || keyway.Is(err, keyway.HostKeyChanged) || keyway.Is(err, keyway.NoKey); {
		case better && said:
			return exitStatus(keyway.ExitCode(err))
		case better:
			return err // which says it better than ssh
		case keyway.Is(err, keyway.Unreachable):
			if !said {
				complain(os.Stderr, keyway.AsError(err))
			}
			return exitStatus(sshFailed)
		}
		err = nil
	}
	own.show(os.Stderr)
	if err != nil {
		return err
	}
	if code != 0 {
		return exitStatus(code)
	}
	return nil
}

// refused is why ssh has not entered a workspace, if more is known than it has said.
func (a *app) refused(ctx context.Context, e sshconfig.Entry, said string) error {
	if err := a.NotRunning(ctx, e); err != nil {
		return err
	}
	if !strings.Contains(said, "Permission denied (") {
		return nil
	}
	if held, _ := a.Held(ctx); len(held) > 0 {
		return nil
	}
	return keyway.Errorf(keyway.NoKey, "the agent is locked or holds no key, and %s lets nobody in without one", e.Name).Advise(keyway.UnlockKey)
}

// errKilled is the end of an ssh by a signal that nobody has sent by way of this process.
type errKilled struct{ signal string }

func (e errKilled) Error() string { return "ssh was ended by " + e.signal }

// sshWords are what ssh itself has to say, apart from what the job prints: in a file,
// until it is known who says it better.
type sshWords struct{ path string }

func newSSHWords() (sshWords, error) {
	f, err := os.CreateTemp("", "keyway-ssh-*")
	if err != nil {
		return sshWords{}, err
	}
	return sshWords{f.Name()}, f.Close()
}

// options has ssh write there.
func (s sshWords) options() []string { return []string{"-E", s.path} }

// maxSSHWords bounds, in bytes, what is shown of them.
const maxSSHWords = 64 << 10

// proxyEnded is how ssh begins to say that its proxy command has ended before there was a
// connection.
const proxyEnded = "kex_exchange_identification: "

// sentAway is how ssh says that the mux has not taken it, before it connects by itself.
// The agent's log has the reason.
const sentAway = "muxclient: master hello exchange failed"

func (s sshWords) text() string {
	f, err := os.Open(s.path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxSSHWords))
	return string(text)
}

func (s sshWords) show(to io.Writer) {
	for line := range strings.Lines(s.text()) {
		if strings.TrimRight(line, "\r\n") != sentAway {
			_, _ = io.WriteString(to, line)
		}
	}
}

func (s sshWords) remove() { os.Remove(s.path) }

// sshFailed is what ssh exits with when the connection failed.
const sshFailed = 255

// interactive reports whether standard input and standard output are terminals.
func interactive() bool {
	return isTerminal(os.Stdin) && isTerminal(os.Stdout)
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// splitSession splits [PLACE/]NAME[/JOB]. Of two words the first is a workspace if this
// laptop knows one of that name, and else its place: no place has the name of a workspace.
func splitSession(arg string, known func(workspace string) bool) (name, session string, err error) {
	at := strings.LastIndexByte(arg, '/')
	if at < 0 || !known(arg[:at]) && known(arg) {
		return arg, "", nil
	}
	name, session = arg[:at], arg[at+1:]
	if session == "" {
		return "", "", keyway.Errorf(keyway.Usage, "%s names no job", arg).Hint("see the jobs: keyway ls %s", name)
	}
	job, err := keyway.ParseName(session)
	return name, string(job), err
}

// isKnown reports whether this laptop has an entry for a workspace.
func (a *app) isKnown(workspace string) bool {
	_, err := a.Lookup(workspace)
	return err == nil
}

// jobArg reads the argument of a command about a job.
func jobArg(arg string) (name, session string, err error) {
	a, err := newApp()
	if err != nil {
		return "", "", err
	}
	return splitSession(arg, a.isKnown)
}
