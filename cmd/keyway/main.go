// Command keyway unlocks an SSH key once and reaches workspaces behind any
// bastion. On the laptop it is the command line and the link; at a place, run
// by ssh, it is the node; a plain go build of it can also be the guest.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"keyway/internal/agent"
	"keyway/internal/guest"
	"keyway/internal/keyway"
	"keyway/internal/link"
)

func main() { os.Exit(run()) }

func run() int {
	if os.Getenv(envHeirloom) != "" {
		_ = agent.HardenProcess() // at once: inherit refuses what was traced before
	}
	if exe, err := os.Executable(); err == nil && filepath.Base(exe) == keyway.GuestProgram {
		return guest.Main(os.Args)
	}
	if code, ok := standIn(os.Args[1:]); ok {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRootCommand()
	isCommand := func(arg string) bool {
		found, _, err := root.Find([]string{arg})
		return err == nil && found != root
	}
	if code, ok := link.Askpass(ctx, os.Args[1:], isCommand, os.Stdout); ok {
		return code
	}
	cmd, err := root.ExecuteContextC(ctx)
	return report(os.Stderr, cmd, err)
}

// exitStatus ends the program with the status of a program that it ran for the
// user, which has already said what there is to say.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// report says what err is and gives the exit code for it.
func report(w io.Writer, cmd *cobra.Command, err error) int {
	var status exitStatus
	if err == nil || errors.As(err, &status) {
		return int(status)
	}
	e := keyway.AsError(err)
	if wantsJSON(cmd) {
		json.NewEncoder(w).Encode(map[string]*keyway.Error{"error": e})
		return keyway.ExitCode(e)
	}
	complain(w, e)
	return keyway.ExitCode(e)
}

// complain says what is wrong and what to type next.
func complain(w io.Writer, e *keyway.Error) {
	fmt.Fprintf(w, "keyway: %s\n", e.Message)
	for line := range strings.Lines(e.Next) {
		fmt.Fprintf(w, "  → %s\n", strings.TrimRight(line, "\n"))
	}
}

func wantsJSON(cmd *cobra.Command) bool {
	if cmd == nil {
		return false
	}
	f := cmd.Flags().Lookup("json")
	return f != nil && f.Value.String() == "true"
}
