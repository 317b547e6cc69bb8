//go:build linux

package words

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/session"
	"keyway/internal/session/holder"
	"keyway/internal/session/option"
	"keyway/internal/session/view"
)

// cli is the keyway command inside a workspace. Answers go to out, news to err: over ssh, both
// reach the user's own terminal or pipes.
type cli struct {
	view.Process
	home keyway.Home
}

// command is one command of the command line.
type command struct {
	name    string
	summary string
	usage   string // the whole help text
	run     func(c *cli, g option.Given) (int, error)
	option.CommandLine
}

// commands returns all commands, in the order of the help.
func commands() []command {
	return []command{runCommand(), attachCommand(), logsCommand(), waitCommand(), lsCommand(), sendCommand(), killCommand(), rmCommand(), portsCommand()}
}

// CLI is the command `keyway ARGS…` inside the workspace with that home. It returns the exit code
// of the process. It must be the last thing that the process does: if the reader of its output is
// stuck, a goroutine is left behind.
func CLI(home keyway.Home, args []string) int {
	c := &cli{view.Process{Registry: session.Open(home), In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, home}
	code, err := c.dispatch(args)
	if err != nil {
		return c.complain(err)
	}
	return code
}

func (c *cli) dispatch(args []string) (int, error) {
	if len(args) == 0 {
		fmt.Fprint(c.Err, overview())
		return keyway.ExitCode(keyway.Errorf(keyway.Usage, "")), nil
	}
	switch args[0] {
	case "help", "--help", "-h":
		_, err := fmt.Fprint(c.Out, overview())
		return 0, err
	case "version", "--version":
		_, err := fmt.Fprintln(c.Out, "keyway", keyway.Version)
		return 0, err
	}
	for _, cmd := range commands() {
		if cmd.name == args[0] {
			return c.invoke(cmd, args[1:])
		}
	}
	return 0, keyway.Errorf(keyway.Usage, "there is no command %q inside a workspace", args[0]).
		Hint("see what there is: keyway --help")
}

func (c *cli) invoke(cmd command, args []string) (int, error) {
	cmd.Options = append(cmd.Options, option.Option{Name: "help", Letter: 'h'})
	if cmd.Strict && len(args) > 0 && args[0] == c.Workspace && slices.Contains(args, "--") {
		args = args[1:] // as on the laptop: keyway run WORKSPACE -- COMMAND
	}
	g, err := cmd.Parse(args)
	if err != nil {
		return 0, misused(cmd.name, "%s", err)
	}
	if g.Has("help") {
		_, err := fmt.Fprint(c.Out, cmd.usage)
		return 0, err
	}
	return cmd.run(c, g)
}

// misused returns an error about the arguments of a command.
func misused(name, format string, args ...any) error {
	return keyway.Errorf(keyway.Usage, "%s: %s", name, fmt.Sprintf(format, args...)).Hint("see keyway %s --help", name)
}

// complain prints err and returns the exit code for it.
func (c *cli) complain(err error) int {
	var start *holder.StartError
	if errors.As(err, &start) {
		fmt.Fprintln(c.Err, "keyway:", plain.Line(start.Message))
		return start.Code
	}
	e := keyway.AsError(err)
	if e.Kind == keyway.Other && keyway.IsNoSpace(err) {
		e.Kind = keyway.NoSpace
	}
	fmt.Fprintln(c.Err, "keyway:", plain.Line(e.Message))
	if help := next(e); help != "" {
		fmt.Fprintln(c.Err, "  → "+strings.ReplaceAll(plain.Text(help), "\n", "\n  → "))
	}
	return keyway.ExitCode(e)
}

func overview() string {
	var b strings.Builder
	b.WriteString("keyway: jobs and terminals in this workspace that outlive every connection\n\n")
	for _, cmd := range commands() {
		fmt.Fprintf(&b, "  keyway %-7s %s\n", cmd.name, cmd.summary)
	}
	b.WriteString("\nkeyway COMMAND --help says more. NAME is a session's name; WORKSPACE/NAME is understood, too.\n")
	return b.String()
}

// oneName returns the session that a command is about: the given name, or the one that Pick
// finds.
func (c *cli) oneName(cmd string, args []string) (keyway.Name, error) {
	switch args = c.Jobs(args); len(args) {
	case 0:
		i, err := c.Pick()
		return i.Name, err
	case 1:
		return c.Parse(args[0])
	}
	return "", misused(cmd, "one session at a time")
}
