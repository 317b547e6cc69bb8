package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"keyway/internal/bounded"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/lazyregexp"
	"keyway/internal/sshconfig"
)

// inside runs the workspace's own keyway command over the user's ssh. Output, questions and exit
// code reach the user as if the command ran on the laptop.
type inside struct {
	// terminal requests a terminal for the command, which is then shown on the user's.
	terminal bool
	// out receives the command's standard output; nil means this process's own.
	out io.Writer
	// again says how a command that only reads continues when its connection has broken; nil: it
	// does not.
	again *resumption
}

// run runs the command. The error is the command's exit status, or ssh's. If the workspace does
// not run, the error has the kind NotRunning; refused describes further cases.
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
	unread := make(chan os.Signal, 1) // otherwise a write without a reader ends this process
	signal.Notify(unread, syscall.SIGPIPE)
	defer signal.Stop(unread)
	code, err := i.show(ctx, a, entry, own, errs, args)
	switch {
	case errors.Is(err, syscall.EPIPE):
		code, err = int(brokenPipe), nil
	case errors.Is(err, context.Canceled): // a signal has ended a write without a reader
		code, err = cmp.Or(code, int(interrupted)), nil
	}
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
		said := own.unanswered() // the proxy command has reported it
		switch better := keyway.Is(err, keyway.NotRunning) || keyway.Is(err, keyway.HostKeyChanged) || keyway.Is(err, keyway.NoKey); {
		case better && said:
			return exitStatus(keyway.ExitCode(err))
		case better:
			return err // the error is clearer than ssh's
		case keyway.Is(err, keyway.Unreachable):
			if !said {
				complain(os.Stderr, keyway.AsError(err))
			}
			return exitStatus(sshFailed)
		}
		err = nil
		if own.text() == "" {
			a.explain(ctx, entry.Name, own)
		}
	}
	own.show(os.Stderr, entry.Name)
	if err != nil {
		return err
	}
	if code != 0 {
		return exitStatus(code)
	}
	return nil
}

// A command whose connection breaks is shown again at most maxAgain times in a row, with a pause
// that doubles each time up to maxPause. The count starts again when it was shown for shownWhile.
const (
	maxAgain   = 20
	againPause = 200 * time.Millisecond
	maxPause   = 3 * time.Second
	shownWhile = 10 * time.Second
)

// show runs ssh with the command, runs it again if the command can continue, and returns the exit
// code.
func (i inside) show(ctx context.Context, a *app, e sshconfig.Entry, own sshWords, errs io.Writer, args []string) (int, error) {
	options := own.options()
	if i.terminal {
		// The program in the workspace that shows the job handles escape sequences. If ssh
		// handled them, a pasted line of ~. would end it, and the rest of the text would run in
		// the user's shell.
		options = append(options, "-t", "-o", "EscapeChar=none")
	}
	out, shownErrs := i.again.outputs(ctx, i.out, errs, i.terminal)
	way := &wayBack{app: a, to: e, own: own, errs: errs}
	for tries := 0; ; tries++ {
		begun := time.Now()
		ssh, err := a.InsideCommand(context.WithoutCancel(ctx), e.Name, slices.Concat(options, i.again.options()), args...) // ssh itself gets the signals
		if err != nil {
			return 0, err
		}
		ssh.Env = append(ssh.Env, i.again.environ()...)
		code, err := runChild(ssh, i.terminal, out, shownErrs)
		broke := time.Now()
		if broke.Sub(begun) > shownWhile {
			tries = 0
		}
		mayBeOwn := i.again.mayExit(tries)
		for reached := false; !reached; {
			if !i.again.possible() || err != nil || code != sshFailed {
				return code, cmp.Or(err, i.again.flush())
			}
			if tries >= maxAgain || !own.broke(mayBeOwn) && !way.stillOpen(ctx) || os.Truncate(own.path, 0) != nil {
				return code, i.again.flush()
			}
			select {
			case <-ctx.Done():
				return code, i.again.flush()
			case <-time.After(min(againPause<<tries, maxPause)):
			}
			code, err = way.enter(ctx)
			mayBeOwn = false
			if reached = err == nil && code == 0; !reached {
				tries++
			}
		}
		args = i.again.words(args, begun, broke)
	}
}

// wayBack leads to a workspace whose connection has broken.
type wayBack struct {
	app   *app
	to    sshconfig.Entry
	own   sshWords
	errs  io.Writer
	taken bool   // a connection has broken
	said  string // the output of the last attempt
}

// maxSaid bounds, in bytes, what an attempt prints.
const maxSaid = 64 << 10

// enter has ssh enter the workspace and leave it. This takes as long as the network is away. It
// prints nothing that the last attempt has printed.
func (w *wayBack) enter(ctx context.Context) (int, error) {
	w.taken = true
	ssh, err := w.app.SSHCommand(context.WithoutCancel(ctx), w.to.Name, append(w.own.options(), "-n"), "true")
	if err != nil {
		return 0, err
	}
	ssh.Env = append(ssh.Env, ownSSH())
	said := bounded.Buffer{Max: maxSaid}
	code, err := runChild(ssh, false, io.Discard, &said)
	if text := said.String(); text != w.said {
		w.said = text
		_, _ = io.WriteString(w.errs, text)
	}
	return code, err
}

// ownSSH returns the variable for an ssh whose standard error is a pipe. It tells the proxy command
// where the user reads news of the connection.
func ownSSH() string {
	if isTerminal(os.Stderr) {
		return laptop.EnvOwnSSH + "=" + laptop.OnTerminal
	}
	return laptop.EnvOwnSSH + "=1"
}

// stillOpen reports whether the workspace may still be entered: no host has refused it. The place may
// be away for a while, or the link may have been killed, or may be too slow to answer.
func (w *wayBack) stillOpen(ctx context.Context) bool {
	if !w.taken || !w.own.unanswered() {
		return false
	}
	e := keyway.AsError(w.app.refused(ctx, w.to, w.own.text()))
	return e == nil || e.Kind == keyway.Unreachable || e.Kind == keyway.Other
}

// explain has ssh say why it does not enter a workspace, which it leaves unsaid at the LogLevel of
// commands: for example that there is no algorithm in common. If ssh enters, the exit code was the
// job's own.
func (a *app) explain(ctx context.Context, name keyway.Name, own sshWords) {
	ssh, err := a.SSHCommand(ctx, name, append(own.options(), "-n", "-o", "BatchMode=yes", "-o", "LogLevel=INFO"), "true")
	if err == nil {
		ssh.Env = append(ssh.Env, laptop.EnvOwnSSH+"=1")
		_ = ssh.Run()
	}
}

// refused returns the reason why ssh has not entered a workspace, if more is known than ssh's own
// message.
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

// errKilled reports that ssh was killed by a signal that did not come through this process.
type errKilled struct{ signal string }

func (e errKilled) Error() string { return "ssh was ended by " + e.signal }

// sshWords is the file that holds ssh's own messages, apart from the job's output, until it is
// known whether a clearer message exists.
type sshWords struct{ path string }

func newSSHWords() (sshWords, error) {
	f, err := os.CreateTemp("", "keyway-ssh-*")
	if err != nil {
		return sshWords{}, err
	}
	return sshWords{f.Name()}, f.Close()
}

// options returns the options that make ssh write its messages there.
func (s sshWords) options() []string { return []string{"-E", s.path} }

// maxSSHWords bounds how much of the messages is shown, in bytes.
const maxSSHWords = 64 << 10

// proxyEnded begins ssh's message that its proxy command has ended before the connection was
// made.
const proxyEnded = "kex_exchange_identification: "

// sentAway is ssh's message, before it connects by itself, that the mux has refused it. The
// agent's log has the reason.
const sentAway = "muxclient: master hello exchange failed"

// reBroke matches ssh's messages about the end of a connection that was established.
var reBroke = lazyregexp.New(`(?m)^(client_loop: |Read from remote host |Connection (to|closed by|reset by) )`)

// broke reports whether ssh has lost its connection to the workspace. If ssh finds the end of its
// input before that of its output, it ends without a message, as it does if the exit code may be
// the command's own.
func (s sshWords) broke(mayBeOwn bool) bool {
	text := s.text()
	return text == "" && !mayBeOwn || reBroke.MatchString(text) && !s.unanswered()
}

// unanswered reports whether ssh's proxy command has ended, or the link after it, before the
// workspace had answered.
func (s sshWords) unanswered() bool { return strings.HasPrefix(s.text(), proxyEnded) }

func (s sshWords) text() string {
	f, err := os.Open(s.path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxSSHWords))
	if first, rest, ok := strings.Cut(string(text), "\n"); ok && strings.TrimRight(first, "\r") == sentAway {
		return rest
	}
	return string(text)
}

// show prints the messages. ssh has no name for the other end of its proxy command.
func (s sshWords) show(to io.Writer, name keyway.Name) {
	_, _ = io.WriteString(to, strings.ReplaceAll(s.text(), "UNKNOWN port 65535", string(name)))
}

func (s sshWords) remove() { os.Remove(s.path) }

// sshFailed is ssh's exit code for a connection that failed.
const sshFailed = 255

// interactive reports whether standard input and standard output are terminals.
func interactive() bool {
	return isTerminal(os.Stdin) && isTerminal(os.Stdout)
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// splitSession splits [PLACE/]NAME[/JOB]. If arg has two words, the first is a workspace if known
// reports so, and otherwise a place. No place has the name of a workspace.
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
	_, err := a.Laptop.Lookup(workspace)
	return err == nil
}

// jobArg parses the argument of a command about a job.
func jobArg(arg string) (name, session string, err error) {
	a, err := newApp()
	if err != nil {
		return "", "", err
	}
	return splitSession(arg, a.isKnown)
}
