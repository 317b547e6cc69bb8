package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
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
	words, argv := remoteCommand(args)
	// LogLevel keeps ssh from adding "Connection to train closed." to the job's
	// own last words; errors still show.
	ssh := []string{"-o", "LogLevel=ERROR", "-o", "SendEnv=" + keyway.EnvArgv + "*", string(entry.Name), words}
	if i.terminal {
		ssh = append([]string{"-t"}, ssh...)
	}
	path, err := a.findSSH()
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
	code, err := runChild(path, ssh, append(a.environ(), argv...), i.terminal, i.out)
	switch {
	case stored != nil && stored.err != nil:
		return notWritten(stored.err)
	case err != nil:
		return err
	case code == sshFailed:
		err = a.notRunning(ctx, entry)
	}
	if err == nil && code != 0 {
		err = exitStatus(code)
	}
	return err
}

// maxShellWords is how long the words of a command may be, in bytes, for them to be sent
// for a shell, too.
const maxShellWords = 64 << 10

// remoteCommand is a command of the workspace's keyway: as a guest takes it from the
// environment, without a shell; and as a shell reads it, for guests of earlier versions.
func remoteCommand(args []string) (command string, argv []string) {
	words := []string{"keyway"}
	for _, arg := range args {
		words = append(words, shellQuote(arg))
	}
	if command = strings.Join(words, " "); len(command) > maxShellWords {
		command = "keyway too-long-for-this-version" // which that one says of itself
	}
	return command, keyway.EncodeArgv(args)
}

// sshFailed is what ssh exits with when the connection failed.
const sshFailed = 255

// notRunningTimeout is how long the place may take to say why a connection failed.
const notRunningTimeout = 10 * time.Second

// notRunning says whether a connection to a workspace failed because it does not
// run. What cannot be found out is nil: ssh has said what it knows.
func (a *app) notRunning(ctx context.Context, entry sshconfig.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, notRunningTimeout)
	defer cancel()
	a.ui.quiet = true
	node, err := a.node(ctx, entry.Place)
	if err != nil {
		return nil
	}
	list, err := node.List(ctx)
	if err != nil {
		return nil
	}
	for _, w := range list.Workspaces {
		if w.Name == entry.Name && w.State != keyway.Running && w.State != keyway.Unknown {
			why := string(w.State)
			if w.Reason != "" {
				why += " (" + plain.Line(w.Reason) + ")"
			}
			return keyway.Errorf(keyway.NotRunning, "%s does not run: it is %s", entry.Name, why).
				Hint("start it: keyway start %s", entry.Name)
		}
	}
	return nil
}

// shellQuote makes s one word for a POSIX shell.
func shellQuote(s string) string {
	plain := s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./,:=+@%", r))
	}) < 0
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

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
