package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"keyway/internal/agent"
	"keyway/internal/bounded"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/typeahead"
)

// confirm asks a yes-or-no question until it is answered. Enter means yes. If assume is set,
// confirm returns true without asking, for scripts. Without a terminal, the error names flag.
func confirm(ctx context.Context, out io.Writer, question, flag string, assume bool) (bool, error) {
	if assume {
		return true, nil
	}
	return ask(ctx, out, question, flag, true)
}

// ask asks a yes-or-no question until it is answered. Enter means byDefault. Without a terminal,
// the error names flag, which answers the question beforehand.
func ask(ctx context.Context, out io.Writer, question, flag string, byDefault bool) (bool, error) {
	tty, err := openTerminal()
	if err != nil || !term.IsTerminal(int(os.Stderr.Fd())) {
		return false, keyway.Errorf(keyway.NeedsAnswer, "%s There is no terminal to answer at", question).
			Hint("answer beforehand with: %s", flag)
	}
	defer tty.Close()
	fmt.Fprintf(out, "%s %s ", plain.Text(question), choice(byDefault))
	answered := make(chan bool, 1)
	go func() { // a read from a terminal cannot be cancelled: the goroutine ends with the process
		answered <- readYesNo(io.LimitReader(tty, 4096), tty, byDefault)
	}()
	select {
	case yes := <-answered:
		return yes, nil
	case <-ctx.Done():
		fmt.Fprintln(out)
		return false, ctx.Err()
	}
}

// declined returns the error of a command that has not done its work because the user answered
// no. left is a sentence that names what stays as it is.
func declined(left string) *keyway.Error { return keyway.Errorf(keyway.Interrupted, "%s", left) }

// choice returns the two possible answers; the capital letter is the one that Enter gives.
func choice(byDefault bool) string {
	if byDefault {
		return "[Y/n]"
	}
	return "[y/N]"
}

// readYesNo reads lines until one is an answer. An empty line means byDefault, and the end of the
// input means no.
func readYesNo(from io.Reader, again io.Writer, byDefault bool) bool {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		switch answer := strings.ToLower(strings.TrimSpace(line)); {
		case err != nil:
			return isYes(answer)
		case answer == "":
			return byDefault
		case isYes(answer):
			return true
		case answer == "n" || answer == "no":
			return false
		}
		fmt.Fprintf(again, "yes or no? %s ", choice(byDefault))
	}
}

// askKey shows a question on the controlling terminal, wherever the standard streams lead, and
// returns the key that is typed. It returns 0 if more than one byte is typed, as by pasting, and if
// the user cannot be asked: the process has no controlling terminal, or runs in its background,
// where a read would stop it, or a script has redirected standard error. An Enter after the key is
// part of the answer. SIGTERM and SIGHUP end the wait.
func askKey(question string) byte {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return 0
	}
	tty, err := openTerminal()
	if err != nil {
		return 0
	}
	defer tty.Close()
	raw, err := tty.SyscallConn() // Fd would make the file blocking, and its reads uninterruptible
	fd := -1
	if err != nil || raw.Control(func(p uintptr) { fd = int(p) }) != nil || !agent.InForeground(tty) {
		return 0
	}
	state, err := term.MakeRaw(fd)
	if err != nil {
		return 0
	}
	defer func() { _ = term.Restore(fd, state) }()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	defer context.AfterFunc(ctx, func() { _ = tty.SetReadDeadline(time.Unix(1, 0)) })()
	new(typeahead.Marks).Discard(tty, tty, 0) // earlier input was not typed as an answer
	fmt.Fprintf(tty, "\r\n%s ", plain.Line(question))
	typed := make([]byte, 16)
	n, _ := tty.Read(typed)
	for n > 0 && n < len(typed) && typeahead.Follows(tty, typeahead.Pause) {
		more, err := tty.Read(typed[n:])
		if n += more; err != nil || more == 0 {
			break
		}
	}
	answer := keyOf(typed[:n])
	if n > 0 && answer == 0 {
		new(typeahead.Marks).Discard(tty, tty, typeahead.Pause)
	}
	fmt.Fprint(tty, shownKey(answer), "\r\n")
	return answer
}

// keyOf returns the single key that was typed, with or without Enter, or 0 if there is more.
func keyOf(typed []byte) byte {
	switch {
	case len(typed) == 1, len(typed) == 2 && (typed[1] == '\r' || typed[1] == '\n') && isShown(typed[0]):
		return typed[0]
	}
	return 0
}

// shownKey returns the echo of an answer: the key, if it is a printable character.
func shownKey(key byte) string {
	if isShown(key) {
		return string(key)
	}
	return ""
}

func isShown(key byte) bool { return key > ' ' && key <= '~' }

// onTerminal runs one of OpenSSH's programs with the user's own streams, so that it asks for
// passphrases itself, as the user is used to. At the end of ctx the program is interrupted and
// never killed, because it must be able to switch the terminal's echo on again. Its standard
// error is also copied to said, if that is not nil.
func onTerminal(ctx context.Context, env []string, said *bounded.Buffer, name string, args ...string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = askpassEnv(env, program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
	if said != nil {
		cmd.Stderr = io.MultiWriter(os.Stderr, said)
	}
	err = cmd.Run()
	if ctx.Err() != nil {
		fmt.Fprintln(os.Stderr) // the cursor is still on the question's line
		return ctx.Err()
	}
	if errors.Is(err, exec.ErrNotFound) {
		return keyway.Errorf(keyway.Other, "there is no %s: %w", name, err).Hint("install the OpenSSH client (Debian: apt-get install openssh-client)")
	}
	return err
}
