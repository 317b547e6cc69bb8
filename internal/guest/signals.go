//go:build linux

package guest

import (
	"golang.org/x/sys/unix"
)

// sshSignals are the signals that have a name in SSH (RFC 4254, section 6.10).
var sshSignals = map[string]unix.Signal{
	"ABRT": unix.SIGABRT, "ALRM": unix.SIGALRM, "FPE": unix.SIGFPE, "HUP": unix.SIGHUP, "ILL": unix.SIGILL,
	"INT": unix.SIGINT, "KILL": unix.SIGKILL, "PIPE": unix.SIGPIPE, "QUIT": unix.SIGQUIT, "SEGV": unix.SIGSEGV,
	"TERM": unix.SIGTERM, "USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2,
}

// signalName returns SSH's name of sig. A signal outside RFC 4254 is a local extension and
// gets an @, as section 6.10 requires.
func signalName(sig unix.Signal) string {
	for name, s := range sshSignals {
		if s == sig {
			return name
		}
	}
	return "SIG@openssh.com"
}
