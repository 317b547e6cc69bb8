//go:build unix

package main

import (
	"os"
	"syscall"
)

// openTerminal opens the controlling terminal, which is available even if ssh has the standard
// streams.
func openTerminal() (*os.File, error) { return os.OpenFile("/dev/tty", os.O_RDWR, 0) }

// become replaces this process by the program, which then has the user's terminal and signals,
// and sets the exit status.
func become(path string, argv []string, env []string) error {
	return syscall.Exec(path, argv, env)
}
