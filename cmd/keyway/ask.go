package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/term"

	"keyway/internal/keyway"
)

// confirm asks yes or no, yes being the default. assume answers for scripts;
// without it and without a terminal the error names flag.
func confirm(ctx context.Context, out io.Writer, question, flag string, assume bool) (bool, error) {
	if assume {
		return true, nil
	}
	tty, err := openTerminal()
	if err != nil || !term.IsTerminal(int(os.Stderr.Fd())) {
		return false, keyway.Errorf(keyway.NeedsAnswer, "%s There is no terminal to answer at", question).
			Hint("answer beforehand with: %s", flag)
	}
	defer tty.Close()
	fmt.Fprintf(out, "%s [Y/n] ", question)
	read := make(chan string, 1)
	go func() { // a read from a terminal cannot be cancelled: it ends with the process
		line, _ := bufio.NewReader(io.LimitReader(tty, 4096)).ReadString('\n')
		read <- line
	}()
	select {
	case line := <-read:
		line = strings.TrimSpace(line)
		return line == "" || isYes(line), nil
	case <-ctx.Done():
		fmt.Fprintln(out)
		return false, ctx.Err()
	}
}

// onTerminal runs one of OpenSSH's programs with the user's own streams: it asks
// for passphrases itself, in the way the user knows. It is interrupted, never
// killed: it must be able to turn the terminal's echo on again.
func onTerminal(ctx context.Context, env []string, name string, args ...string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = askpassEnv(env, program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
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
