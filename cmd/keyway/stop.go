package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/plain"
)

func newStopCommand() *cobra.Command {
	grace, yes := keyway.DefaultGrace, false
	cmd := &cobra.Command{
		Use:   "stop NAME… [--grace TIME] [--yes]",
		Short: "Stop workspaces: their processes end, their files stay",
		Long: `Stop workspaces: their processes end, their files stay. Jobs get SIGTERM, have the grace
period to save their work, and are then killed. In an adopted container (keyway adopt),
only the processes that keyway has started end; the container keeps running. At a terminal,
stop lists the running jobs and the notebooks with a running cell, and asks; elsewhere it
does not ask. Press Ctrl-C twice to kill the remaining processes at once.` +
			exitCodes(append(placeKinds, keyway.NotFound, keyway.EngineDown, keyway.EngineForbidden, keyway.GuestFailed, keyway.NoSpace)...),
		Example:           "  keyway stop train\n  keyway stop --grace 5m --yes train",
		Args:              takes(1, -1, "a workspace"),
		ValidArgsFunction: completeWorkspaces,
		RunE: forEach(func(cmd *cobra.Command, a *app, arg string) error {
			if err := a.stop(cmd.Context(), arg, grace, yes, cmd.ErrOrStderr()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "stopped %s\n", arg)
			return nil
		}),
	}
	cmd.Flags().Var((*graceValue)(&grace), "grace", "let jobs end by themselves within `TIME`, as in 30 or 2m; 0: none")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) stop(ctx context.Context, arg string, grace time.Duration, yes bool, out io.Writer) error {
	place, name, err := a.Target(arg)
	if err != nil {
		return err
	}
	node, err := a.Node(ctx, place)
	if err != nil {
		a.ui.end()
		return err
	}
	defer a.ui.end()
	w, err := listed(ctx, node, name)
	if err != nil {
		return err
	}
	jobs, unseen := a.runningJobs(ctx, w, arg)
	question := "Stop " + arg + "?"
	if w.Container != "" {
		question += " Its container goes on."
	}
	asked, err := confirmEnd(jobs, unseen, question, yes)
	if err == nil && asked {
		w, err = listed(ctx, node, name)
	}
	if err == nil {
		err = a.sameStill(arg, w)
	}
	if err != nil {
		return err
	}
	if len(jobs) > 0 {
		fmt.Fprintf(out, "stopping %s: %s may take %v to end; Ctrl-C twice kills at once\n", arg, nameJobs(jobs), grace)
	} else {
		defer a.ui.whenSlow("stopping %s; what runs in it has %v to end", arg, grace)()
	}
	return stopPatiently(ctx, node.Stop, name, grace, out)
}

// runningJobs returns the names of the jobs that run in a workspace, and of the notebooks in
// which a cell runs, if the user can be asked about them. After an error, the list may be
// incomplete.
func (a *app) runningJobs(ctx context.Context, w keyway.Workspace, arg string) ([]string, error) {
	if !interactive() || w.State != keyway.Running || w.Sessions == 0 {
		return nil, nil
	}
	jobs, err := a.ListJobs(ctx, arg)
	if err != nil {
		return nil, err
	}
	running, err := a.busyKernels(ctx, arg)
	for _, j := range jobs {
		if j.State == "running" {
			running = append(running, j.Name)
		}
	}
	return running, err
}

// listed returns a workspace as its place lists it, or the zero value if the place does not.
func listed(ctx context.Context, node *api.Client, name keyway.Name) (keyway.Workspace, error) {
	list, err := node.List(ctx)
	i := slices.IndexFunc(list.Workspaces, func(w keyway.Workspace) bool { return w.Name == name })
	if err != nil || i < 0 {
		return keyway.Workspace{}, err
	}
	return list.Workspaces[i], nil
}

// sameStill refuses a workspace that is not the one that this laptop knows as arg: another user or
// laptop has made it again, and its files and jobs belong to that one. w must have been listed
// after any question to the user, whose answer may have taken hours.
func (a *app) sameStill(arg string, w keyway.Workspace) error {
	e, err := a.Lookup(arg)
	if err != nil {
		return nil // the user has named the place
	}
	return e.SameWorkspace(w)
}

// confirmEnd asks whether to end the jobs, and reports whether it has asked. It asks if there are
// jobs, or if their list may be incomplete, for which unseen is the reason.
func confirmEnd(jobs []string, unseen error, question string, yes bool) (asked bool, err error) {
	e := keyway.AsError(unseen)
	if e != nil && e.Kind == keyway.Interrupted {
		return false, e
	}
	if yes || len(jobs) == 0 && unseen == nil {
		return false, nil
	}
	if e != nil {
		question = "Not all that runs can be seen (" + plain.Line(e.Message) + "). " + question
	}
	if len(jobs) > 0 {
		question = theyRun(jobs) + " " + question
	}
	return true, askEnd(question)
}

// askEnd asks a question to which only y means yes.
func askEnd(question string) error {
	answer := askKey(question + " [y/N] (one key)")
	if answer == 'y' || answer == 'Y' {
		return nil
	}
	return declined("nothing was changed").Hint("without a question: --yes")
}

// stopPatiently stops a workspace by stop. A second Ctrl-C kills what still runs in it.
func stopPatiently(ctx context.Context, stop func(context.Context, keyway.Name, time.Duration) error, name keyway.Name, grace time.Duration, out io.Writer) error {
	pressed := make(chan os.Signal, 2)
	signal.Notify(pressed, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(pressed)
	ctx = context.WithoutCancel(ctx) // the first Ctrl-C only prepares the second
	stopped := make(chan error, 1)
	go func() { stopped <- stop(ctx, name, grace) }()
	for n := 1; ; n++ {
		select {
		case err := <-stopped:
			return err
		case <-pressed:
		}
		if n == 1 {
			fmt.Fprintln(out, "\nwaiting for what runs to end; Ctrl-C again kills it")
			continue
		}
		fmt.Fprintln(out, "\nkilling what is left")
		return stop(ctx, name, 0)
	}
}

// namedJobs bounds the jobs that a question names.
const namedJobs = 8

// theyRun returns a sentence that says which jobs run.
func theyRun(jobs []string) string {
	if len(jobs) > 1 {
		return nameJobs(jobs) + " run."
	}
	return nameJobs(jobs) + " runs."
}

// nameJobs returns the names of jobs for a sentence. Of many, it names the first ones and counts
// the others.
func nameJobs(jobs []string) string {
	if more := len(jobs) - namedJobs; more > 0 {
		return strings.Join(jobs[:namedJobs], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(jobs, ", ")
}
