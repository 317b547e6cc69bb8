//go:build unix

package main

import (
	"os"
	"syscall"
)

// openTerminal opens the controlling terminal, which is there even when the
// standard streams are an ssh's.
func openTerminal() (*os.File, error) { return os.OpenFile("/dev/tty", os.O_RDWR, 0) }

// become replaces this process by the program: its terminal, signals and exit
// status are the user's from then on.
func become(path string, argv []string, env []string) error {
	return syscall.Exec(path, argv, env)
}
