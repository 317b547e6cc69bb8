package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
)

// runChild runs a program for the user and returns its exit code. The program uses the console
// directly.
func runChild(cmd *exec.Cmd, terminal bool, out, errs io.Writer) (int, error) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out, errs
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// unread returns false: on Windows, no exit code of ssh indicates a broken pipe.
func unread(*os.File) bool { return false }
