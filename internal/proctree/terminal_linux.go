package proctree

import (
	"os"

	"golang.org/x/sys/unix"
)

// ErrorsOnTerminal reports whether the process's standard error is a virtual console or a
// pseudo-terminal.
func ErrorsOnTerminal(pid int) bool {
	var st unix.Stat_t
	if unix.Stat(path(pid, "fd/2"), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return false
	}
	major := unix.Major(st.Rdev) // as the kernel's Documentation/admin-guide/devices.txt has them
	return major == 4 || major == 5 || major >= 136 && major <= 143
}

// Errors opens the process's standard error if it is a terminal, as of ErrorsOnTerminal, or a pipe.
// It returns nil for anything else: a file would be written from its beginning.
func Errors(pid int) *os.File {
	var st unix.Stat_t
	pipe := unix.Stat(path(pid, "fd/2"), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
	if !pipe && !ErrorsOnTerminal(pid) {
		return nil
	}
	f, err := os.OpenFile(path(pid, "fd/2"), os.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	return f
}
