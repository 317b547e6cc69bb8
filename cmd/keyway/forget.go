package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
)

func newForgetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "forget NAME|PLACE…",
		Short: "Remove workspaces, or a place, from this laptop; they keep running there",
		Long: `Remove a workspace from this laptop: its entry for ssh and its host key. With PLACE, remove
all workspaces there, and the place. No place is contacted, and the workspaces keep running;
keyway add registers them again. To end a workspace, use keyway rm.` +
			exitCodes(keyway.NotFound, keyway.BadConfig),
		Example:           "  keyway forget train\n  keyway forget gpu1   # if the machine no longer exists",
		Args:              takes(1, -1, "a workspace or a place"),
		ValidArgsFunction: completeForget,
		RunE:              forEach(func(cmd *cobra.Command, a *app, arg string) error { return a.forget(arg, cmd.ErrOrStderr()) }),
	}
}

func (a *app) forget(arg string, news io.Writer) error {
	entry, unknown := a.Lookup(arg)
	if unknown == nil {
		if err := a.Drop(entry.Place, entry.Name); err != nil {
			return err
		}
		fmt.Fprintf(news, "forgot %s; if it is still at %s, it comes back with: keyway add %[2]s/%[1]s\n", entry.Name, entry.Place)
		return nil
	}
	places, err := a.Hosts.Places()
	if err != nil || !slices.Contains(places, keyway.Place(arg)) {
		return unknown
	}
	known, err := a.KnownAt(keyway.Place(arg))
	if err != nil {
		return err
	}
	if err := a.Hosts.ForgetPlace(keyway.Place(arg)); err != nil {
		return err
	}
	fmt.Fprintf(news, "forgot %s and %s there\n", arg, laptop.Count(len(known), "workspace"))
	return nil
}

func completeForget(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names, directive := completeWorkspaces(cmd, args, toComplete)
	places, _ := completeKnownPlaces(cmd, args, toComplete)
	return append(names, places...), directive
}
