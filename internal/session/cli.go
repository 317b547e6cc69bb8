//go:build linux

package session

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/plain"
)

// cli is the keyway command inside a workspace. Answers go to out, news to err:
// over ssh both reach the user's own terminal or pipes.
type cli struct {
	viewerProcess
	home keyway.Home
}

// command is one word of the command line.
type command struct {
	name    string
	summary string
	usage   string // the whole help text
	run     func(c *cli, g given) (int, error)
	commandLine
}

// commands are all there are, in the order of the help.
func commands() []command {
	return []command{runCommand(), attachCommand(), logsCommand(), waitCommand(), lsCommand(), sendCommand(), killCommand(), rmCommand()}
}

// CLI is the command `keyway ARGS…` inside the workspace with that home. It
// returns the exit code of the process, and must be the last thing that the
// process does: where a reader of its output is stuck, so is a goroutine.
func CLI(home keyway.Home, args []string) int {
	c := &cli{viewerProcess{openRegistry(home), os.Stdin, os.Stdout, os.Stderr}, home}
	code, err := c.dispatch(args)
	if err != nil {
		return c.complain(err)
	}
	return code
}

func (c *cli) dispatch(args []string) (int, error) {
	if len(args) == 0 {
		fmt.Fprint(c.err, overview())
		return keyway.ExitCode(keyway.Errorf(keyway.Usage, "")), nil
	}
	switch args[0] {
	case "help", "--help", "-h":
		fmt.Fprint(c.out, overview())
		return 0, nil
	case "version", "--version":
		fmt.Fprintln(c.out, "keyway", keyway.Version)
		return 0, nil
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
	cmd.options = append(cmd.options, option{name: "help", letter: 'h'})
	if cmd.strict && len(args) > 0 && args[0] == c.workspace && slices.Contains(args, "--") {
		args = args[1:] // as on the laptop: keyway run WORKSPACE -- COMMAND
	}
	g, err := cmd.parse(args)
	if err != nil {
		return 0, misused(cmd.name, "%s", err)
	}
	if g.has("help") {
		fmt.Fprint(c.out, cmd.usage)
		return 0, nil
	}
	return cmd.run(c, g)
}

// misused is an error about how a command was called.
func misused(name, format string, args ...any) error {
	return keyway.Errorf(keyway.Usage, "%s: %s", name, fmt.Sprintf(format, args...)).Hint("see keyway %s --help", name)
}

// complain prints err and returns the exit code for it.
func (c *cli) complain(err error) int {
	var start *startError
	if errors.As(err, &start) {
		fmt.Fprintln(c.err, "keyway:", plain.Line(start.Message))
		return start.Code
	}
	e := keyway.AsError(err)
	fmt.Fprintln(c.err, "keyway:", plain.Line(e.Message))
	if e.Next != "" {
		fmt.Fprintln(c.err, "  → "+strings.ReplaceAll(plain.Text(e.Next), "\n", "\n  → "))
	}
	return keyway.ExitCode(err)
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

// oneName is the session a command is about: the name that was given, or what
// pick finds.
func (c *cli) oneName(cmd string, args []string) (keyway.Name, error) {
	switch args = c.jobs(args); len(args) {
	case 0:
		i, err := c.pick()
		return i.Name, err
	case 1:
		return c.parse(args[0])
	}
	return "", misused(cmd, "one session at a time")
}
