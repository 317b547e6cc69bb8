//go:build linux

package guest

import (
	"golang.org/x/sys/unix"
)

// sshSignals are the signals that SSH knows by name (RFC 4254, section 6.10).
var sshSignals = map[string]unix.Signal{
	"ABRT": unix.SIGABRT, "ALRM": unix.SIGALRM, "FPE": unix.SIGFPE, "HUP": unix.SIGHUP, "ILL": unix.SIGILL,
	"INT": unix.SIGINT, "KILL": unix.SIGKILL, "PIPE": unix.SIGPIPE, "QUIT": unix.SIGQUIT, "SEGV": unix.SIGSEGV,
	"TERM": unix.SIGTERM, "USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2,
}

// signalName is the name that tells a client of sig. Others than RFC 4254's are
// local extensions and carry an @ as section 6.10 demands.
func signalName(sig unix.Signal) string {
	for name, s := range sshSignals {
		if s == sig {
			return name
		}
	}
	return "SIG@openssh.com"
}
