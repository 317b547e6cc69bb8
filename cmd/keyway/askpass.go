package main

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// envAskpass names the variable with the user's SSH_ASKPASS while this program stands in for
// that.
const envAskpass = "KEYWAY_ASKPASS"

// askpassEnv returns env changed so that OpenSSH's programs use SSH_ASKPASS when there is no
// terminal, even without a display. Otherwise they would read standard input and take its end for
// an empty passphrase, so that a new key would have none. The variable names program, which is
// this one: ssh-add repeats its question until the passphrase is right, and a script with a wrong
// passphrase would answer forever.
func askpassEnv(env []string, program string) []string {
	theirs := os.Getenv("SSH_ASKPASS")
	if theirs == "" || hasTerminal() {
		return env
	}
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		return strings.HasPrefix(kv, "SSH_ASKPASS=") || strings.HasPrefix(kv, "SSH_ASKPASS_REQUIRE=")
	})
	return append(env, "SSH_ASKPASS="+program, "SSH_ASKPASS_REQUIRE=force", envAskpass+"="+theirs)
}

// again is the beginning of the question that ssh-add asks after a wrong passphrase.
const again = "Bad passphrase"

// standIn runs the user's SSH_ASKPASS if this process was started in its place. In that case ok
// is true, and the process must exit with code.
func standIn(args []string) (code int, ok bool) {
	theirs := os.Getenv(envAskpass)
	if theirs == "" || len(args) != 1 {
		return 0, false
	}
	if strings.HasPrefix(args[0], again) {
		return 1, true
	}
	cmd := exec.Command(theirs, args[0])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode(), true
	}
	return 1, true
}

// hasTerminal reports whether the process has a controlling terminal.
func hasTerminal() bool {
	tty, err := openTerminal()
	if err != nil {
		return false
	}
	tty.Close()
	return true
}
