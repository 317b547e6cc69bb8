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

// confirm asks yes or no, yes being the default, until it is answered. assume answers for scripts;
// without it and without a terminal the error names flag.
func confirm(ctx context.Context, out io.Writer, question, flag string, assume bool) (bool, error) {
	if assume {
		return true, nil
	}
	return ask(ctx, out, question, flag, true)
}

// ask asks yes or no until it is answered; Enter is byDefault. Without a terminal the error
// names flag, which answers beforehand.
func ask(ctx context.Context, out io.Writer, question, flag string, byDefault bool) (bool, error) {
	tty, err := openTerminal()
	if err != nil || !term.IsTerminal(int(os.Stderr.Fd())) {
		return false, keyway.Errorf(keyway.NeedsAnswer, "%s There is no terminal to answer at", question).
			Hint("answer beforehand with: %s", flag)
	}
	defer tty.Close()
	fmt.Fprintf(out, "%s %s ", plain.Text(question), choice(byDefault))
	answered := make(chan bool, 1)
	go func() { // a read from a terminal cannot be cancelled: it ends with the process
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

// declined is the error of a command whose question was answered with no: it has not done its
// work.
func declined(left string) *keyway.Error { return keyway.Errorf(keyway.Interrupted, "%s", left) }

// choice shows the two answers, and which of them Enter gives.
func choice(byDefault bool) string {
	if byDefault {
		return "[Y/n]"
	}
	return "[y/N]"
}

// readYesNo reads lines until one is an answer; an empty one is byDefault. The end of the
// input is no.
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

// askKey puts a question to the person at the controlling terminal, wherever the
// standard streams lead, and returns the byte that is typed; 0 if more than one is, as of
// a pasted text, or if nobody can be asked: there is no such terminal, this process is in
// its background, where to read would stop it, or standard error is kept from it, as
// scripts do. An Enter after the key belongs to the answer. SIGTERM and SIGHUP end the
// waiting.
func askKey(question string) byte {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return 0
	}
	tty, err := openTerminal()
	if err != nil {
		return 0
	}
	defer tty.Close()
	raw, err := tty.SyscallConn() // Fd would make reads that nothing interrupts
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
	typeahead.Discard(tty, false) // was not typed as an answer
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
		typeahead.Discard(tty, true)
	}
	fmt.Fprint(tty, shownKey(answer), "\r\n")
	return answer
}

// keyOf returns the key that was typed, with Enter or without; 0 if it is more than that.
func keyOf(typed []byte) byte {
	switch {
	case len(typed) == 1, len(typed) == 2 && (typed[1] == '\r' || typed[1] == '\n') && isShown(typed[0]):
		return typed[0]
	}
	return 0
}

// shownKey echoes an answer, if it is a character.
func shownKey(key byte) string {
	if isShown(key) {
		return string(key)
	}
	return ""
}

func isShown(key byte) bool { return key > ' ' && key <= '~' }

// onTerminal runs one of OpenSSH's programs with the user's own streams: it asks
// for passphrases itself, in the way the user knows. It is interrupted, never
// killed: it must be able to turn the terminal's echo on again. Its standard error
// is copied to said unless that is nil.
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
		fmt.Fprintln(os.Stderr) // the question's line is still open
		return ctx.Err()
	}
	if errors.Is(err, exec.ErrNotFound) {
		return keyway.Errorf(keyway.Other, "there is no %s: %w", name, err).Hint("install the OpenSSH client (Debian: apt-get install openssh-client)")
	}
	return err
}
