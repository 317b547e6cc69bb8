package agent

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// ptDenyAttach is PT_DENY_ATTACH of ptrace(2).
const ptDenyAttach = 31

// HardenProcess keeps other processes of the same user from attaching, and the
// system from writing core dumps.
func HardenProcess() error {
	if _, _, errno := syscall.Syscall(syscall.SYS_PTRACE, ptDenyAttach, 0, 0); errno != 0 {
		return errno
	}
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
