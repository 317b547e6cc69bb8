package proctree

import "golang.org/x/sys/unix"

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
