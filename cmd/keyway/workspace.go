package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

func newStartCommand() *cobra.Command {
	return actCommand("start", "Start stopped workspaces again", "started", func(a *app, there *api.Client, ctx context.Context, e sshconfig.Entry) (string, error) {
		w, err := listed(ctx, there, e.Name)
		if err == nil {
			err = e.SameWorkspace(w)
		}
		if err != nil {
			return "", err
		}
		if err := there.Start(ctx, e.Name); err != nil {
			return "", err
		}
		e.Sent = sshconfig.Sent{} // the user wants to enter
		a.SendKeys(ctx, there, e)
		if w.State == keyway.Running {
			return "runs already:", nil
		}
		return "started", nil
	})
}

// actCommand returns a command that does the same to each workspace that it is given. act returns
// what became of it.
func actCommand(verb, short, done string, act func(*app, *api.Client, context.Context, sshconfig.Entry) (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " NAME…",
		Short:             short,
		Long:              short + "." + exitCodes(append(placeKinds, keyway.NotFound, keyway.EngineDown, keyway.EngineForbidden, keyway.GuestFailed)...),
		Example:           "  keyway " + verb + " train",
		Args:              takes(1, -1, "a workspace"),
		ValidArgsFunction: completeWorkspaces,
		RunE: forEach(func(cmd *cobra.Command, a *app, arg string) error {
			place, name, err := a.Target(arg)
			if err != nil {
				return err
			}
			said := ""
			node, err := a.Node(cmd.Context(), place)
			if err == nil {
				e, unknown := a.Lookup(arg)
				if unknown != nil {
					e = sshconfig.Entry{Place: place, Name: name}
				}
				told := a.ui.whenSlow("waiting for %s to be %s", arg, done)
				said, err = act(a, node, cmd.Context(), e)
				told()
			}
			a.ui.end()
			if err == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s %s\n", said, name)
			}
			return err
		}),
	}
}

// forEach returns the RunE of a command about several workspaces, for each of which it calls do.
func forEach(do func(cmd *cobra.Command, a *app, arg string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a, err := newApp()
		if err != nil {
			return err
		}
		return each(args, cmd.ErrOrStderr(), func(arg string) error { return do(cmd, a, arg) })
	}
}

// each calls do for every argument, even after one has failed, and returns the first error. If
// there are several arguments, it prints each error when it occurs.
func each(args []string, news io.Writer, do func(string) error) error {
	var first error
	for _, arg := range args {
		err := do(arg)
		stop := keyway.Is(err, keyway.Interrupted)
		if err != nil && len(args) > 1 {
			err = exitStatus(report(news, nil, err))
		}
		if first == nil {
			first = err
		}
		if stop {
			break
		}
	}
	return first
}

func newRmCommand() *cobra.Command {
	var yes, volumes bool
	cmd := &cobra.Command{
		Use:   "rm NAME… [--volumes] [--yes]",
		Short: "Remove workspaces, with all processes and files in them",
		Long: `Remove workspaces: their processes end, their files, logs and host keys are deleted, and
their entries for ssh are removed. Mounted directories of the place are kept, and so are
volumes that have a name, unless you give --volumes. Name a workspace that this laptop does
not know as PLACE/NAME.

A container that was adopted (keyway adopt) stays, with all that its owner runs in it. rm
ends the SSH server and everything that was started through it, and deletes the home
directory that keyway has made there for a user without one.

At a terminal, rm lists the running jobs and asks first. Jobs get time to save, as with
keyway stop.` +
			exitCodes(append(placeKinds, keyway.NotFound, keyway.EngineDown, keyway.EngineForbidden, keyway.GuestFailed, keyway.NoSpace)...),
		Example:           "  keyway rm train\n  keyway rm gpu1/train",
		Args:              takes(1, -1, "a workspace"),
		ValidArgsFunction: completeWorkspaces,
		RunE: forEach(func(cmd *cobra.Command, a *app, arg string) error {
			return a.remove(cmd.Context(), arg, yes, volumes, cmd.ErrOrStderr())
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&volumes, "volumes", false, "remove its volumes, too, such as that of its home directory")
	return cmd
}

// stopFirst stops a workspace before it is removed, so that programs in it can save their work. A
// workspace that cannot be stopped is removed all the same.
func (a *app) stopFirst(ctx context.Context, node *api.Client, name keyway.Name, jobs bool, out io.Writer) error {
	const news = "stopping %s first; Ctrl-C twice kills at once"
	if jobs {
		fmt.Fprintf(out, news+"\n", name)
	} else {
		defer a.ui.whenSlow(news, name)()
	}
	err := stopPatiently(ctx, node.StopFirst, name, keyway.DefaultGrace, out)
	if keyway.Is(err, keyway.Unreachable) || keyway.Is(err, keyway.NotFound) {
		return err
	}
	return nil
}

// removeAt removes a workspace at its place.
func (a *app) removeAt(ctx context.Context, node *api.Client, name keyway.Name, volumes bool) error {
	defer a.ui.whenSlow("removing %s", name)()
	if volumes {
		return node.Purge(ctx, name)
	}
	return node.Remove(ctx, name)
}

// halfRemoved returns the error for a workspace that is gone at its place, but still known on
// this laptop.
func halfRemoved(place keyway.Place, name keyway.Name, why error) error {
	e := keyway.AsError(why)
	return keyway.Errorf(e.Kind, "%s is removed at %s, and this laptop could not forget it: %w", name, place, why).
		Hint("%s", strings.TrimPrefix(e.Next+"\nthen: keyway forget "+plain.Shell(string(name)), "\n"))
}

// confirmRemove asks whether to remove a workspace, if there is something to ask about, and stops
// it. said is the message to print after the removal.
func (a *app) confirmRemove(ctx context.Context, node *api.Client, arg string, name keyway.Name, yes bool, stderr io.Writer) (said string, err error) {
	w, err := listed(ctx, node, name)
	if err != nil {
		return "", err
	}
	jobs, unseen := a.runningJobs(ctx, w, arg)
	question, said := removal(arg, w)
	alone, asked := false, true // alone: nothing runs, but there is something to lose
	if w.Container != "" && w.Guest.Home == ownHome {
		alone = len(jobs) == 0 && unseen == nil && interactive() && !yes
	}
	if alone {
		err = askEnd(question)
	} else {
		asked, err = confirmEnd(jobs, unseen, question, yes)
	}
	if err == nil && asked {
		w, err = listed(ctx, node, name)
	}
	if err == nil {
		err = a.sameStill(arg, w)
	}
	if err == nil && w.State == keyway.Running {
		err = a.stopFirst(ctx, node, name, len(jobs) > 0, stderr)
	}
	return said, err
}

// removal returns the question before w is removed, and the message after that. Of an adopted container
// that is dead, nothing is reached but the place's record.
func removal(arg string, w keyway.Workspace) (question, said string) {
	switch {
	case w.Container == "":
		return "Remove " + arg + " with all its files?", "removed"
	case w.Next == keyway.RemoveRest:
		return "Remove the record of " + arg + "? What is in its container stays.",
			"removed the record, and nothing in its container, since " + plain.Line(w.Reason) + ":"
	case w.Guest.Home == ownHome:
		return "Remove " + arg + " and the files in " + ownHome + "? Its container stays.",
			"removed, with the files in " + ownHome + ", and left its container as it is:"
	}
	return "Remove " + arg + "? Its container stays.", "removed, and left its container as it is:"
}

// goneAt reports whether the place answers and does not list the workspace.
func goneAt(ctx context.Context, node *api.Client, name keyway.Name) bool {
	if node == nil {
		return false
	}
	w, err := listed(ctx, node, name)
	return err == nil && w.Name == ""
}

// remove removes a workspace, with its volumes if they are to go, and forgets it.
func (a *app) remove(ctx context.Context, arg string, yes, volumes bool, stderr io.Writer) error {
	place, name, err := a.Target(arg)
	if err != nil {
		return err
	}
	said := ""
	node, err := a.Node(ctx, place)
	if err == nil {
		said, err = a.confirmRemove(ctx, node, arg, name, yes, stderr)
	}
	if err == nil {
		err = a.removeAt(ctx, node, name, volumes)
	}
	a.ui.end()
	if err != nil && volumes && ctx.Err() == nil && goneAt(ctx, node, name) && !keyway.Is(err, keyway.NotFound) {
		e := keyway.AsError(err)
		left := keyway.Errorf(e.Kind, "%s is removed, but not all of its volumes: %w", name, err).HelpOf(e)
		if err := a.Drop(place, name); err != nil {
			return halfRemoved(place, name, err)
		}
		return left
	}
	switch {
	case keyway.Is(err, keyway.NotFound):
		said = "was gone already:"
	case keyway.Is(err, keyway.Unreachable) || keyway.Is(err, keyway.UnknownPlace):
		e := spelledOut(keyway.AsError(err))
		return e.Hint("%s", strings.TrimSpace(e.Next+"\nif the place is gone for good: keyway forget "+string(place)))
	case err != nil:
		return err
	}
	if err := a.Drop(place, name); err != nil {
		return halfRemoved(place, name, err)
	}
	fmt.Fprintf(stderr, "%s %s\n", said, name)
	return nil
}
