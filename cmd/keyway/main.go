// Command keyway is the laptop's program: the command line, the agent and the link. The user
// unlocks an SSH key once, and reaches workspaces behind any bastion. A plain go build of it can
// also act as the node and the guest.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"keyway/internal/agentd"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/plain"
)

func main() { os.Exit(run()) }

func run() int {
	agentd.HardenRenewed()
	forgetArgv()
	if code, ok := link.Hop(os.Args); ok {
		return code
	}
	if code, ok := standIn(os.Args[1:]); ok {
		return code
	}
	keepOwnFiles()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if code, ok := asAnother(ctx, os.Args); ok {
		return code
	}
	findHome()
	root := newRootCommand()
	isCommand := func(arg string) bool {
		found, _, err := root.Find([]string{arg})
		return err == nil && found != root
	}
	if code, ok := link.Askpass(ctx, os.Args[1:], isCommand, os.Stdout); ok {
		return code
	}
	running, end := context.WithCancel(ctx)
	cmd, err := root.ExecuteContextC(running)
	end()
	notices.Wait()
	if printed, ok := root.OutOrStdout().(*plain.Writer); ok {
		err = printedAll(err, printed.Err())
	}
	return report(os.Stderr, cmd, err)
}

// forgetArgv unsets the variable with the command that another keyway on this machine sends to a
// guest. ssh passes the variable to its ProxyCommand, which may start the link; programs of the
// link and other workspaces must not learn that command.
func forgetArgv() {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, keyway.EnvArgv) {
			os.Unsetenv(name)
		}
	}
}

// exitStatus is the exit status of a program that keyway ran for the user. That program has
// reported its errors itself.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// report prints err and returns its exit code.
func report(w io.Writer, cmd *cobra.Command, err error) int {
	var status exitStatus
	if err == nil || errors.As(err, &status) {
		return int(status)
	}
	e := forEngines(cmd, whoSudoIs().advise(keyway.AsTold(err)))
	if wantsJSON(cmd) {
		_ = plain.JSON(w, map[string]*keyway.Error{"error": spelledOut(e)})
		return keyway.ExitCode(e)
	}
	complain(w, e)
	return keyway.ExitCode(e)
}

// complain prints an error and its advice.
func complain(w io.Writer, e *keyway.Error) {
	explain(w, e, "keyway: ", "  ")
}

// explain prints e after a label, and its advice on lines that begin with indent. Text of a place
// is marked as that place's words: only this laptop's advice has the arrow, and further lines of
// a message look like neither.
func explain(w io.Writer, e *keyway.Error, label, indent string) {
	first, quoted, _ := strings.Cut(plain.Text(e.Message), "\n")
	if e.Host != "" {
		label += plain.Line(string(e.Host)) + " says: "
	}
	fmt.Fprintf(w, "%s%s\n", label, first)
	for line := range strings.Lines(quoted) {
		fmt.Fprintf(w, "%s| %s\n", indent, strings.TrimRight(line, "\n"))
	}
	arrow := "→"
	if e.Host != "" {
		arrow = plain.Line(string(e.Host)) + " suggests:"
	}
	for line := range strings.Lines(plain.Text(nextOf(e))) {
		fmt.Fprintf(w, "%s%s %s\n", indent, arrow, strings.TrimRight(line, "\n"))
	}
}

func wantsJSON(cmd *cobra.Command) bool {
	if cmd == nil {
		return false
	}
	f := cmd.Flags().Lookup("json")
	return f != nil && f.Value.String() == "true"
}
