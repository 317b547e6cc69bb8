package main

import (
	"context"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"keyway/internal/laptop"
)

// inside runs the workspace's own keyway command over the user's ssh: what it
// prints, asks and exits with reaches the user as if it ran here.
type inside struct {
	// terminal says that the command is shown on the user's terminal, and gets one.
	terminal bool
	// out is where its answers go; nil: standard output.
	out io.Writer
}

// run runs the command. A workspace that does not run is an error of kind
// NotRunning; otherwise the command's exit status, or ssh's, is the error.
func (i inside) run(ctx context.Context, name string, args ...string) error {
	a, entry, err := appFor(name)
	if err != nil {
		return err
	}
	ssh, argv := laptop.InsideArgs(entry, args...)
	if i.terminal {
		ssh = append([]string{"-t"}, ssh...)
	}
	path, err := a.FindSSH()
	if err != nil {
		return err
	}
	var stored *storing
	if i.out == nil {
		i.out = os.Stdout
		if stored = storedIn(os.Stdout); stored != nil {
			i.out = stored
		}
	}
	code, err := runChild(path, ssh, append(a.Environ(), argv...), i.terminal, i.out)
	switch {
	case stored != nil && stored.err != nil:
		return notWritten(stored.err)
	case err != nil:
		return err
	case code == sshFailed:
		err = a.NotRunning(ctx, entry)
	}
	if err == nil && code != 0 {
		err = exitStatus(code)
	}
	return err
}

// sshFailed is what ssh exits with when the connection failed.
const sshFailed = 255

// interactive says whether a person sits at both standard streams.
func interactive() bool {
	return isTerminal(os.Stdin) && isTerminal(os.Stdout)
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// splitSession splits NAME[/SESSION].
func splitSession(arg string) (name, session string) {
	name, session, _ = strings.Cut(arg, "/")
	return name, session
}
