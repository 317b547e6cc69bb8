package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

type addOptions struct {
	yes, forwardAgent bool
}

func newAddCommand() *cobra.Command {
	var o addOptions
	cmd := &cobra.Command{
		Use:   "add PLACE/NAME",
		Short: "Let ssh know a workspace that was made from elsewhere",
		Long: `Let ssh know a workspace that this laptop did not make. The workspace first proves its
host key. Then keyway shows name, place, user, agent forwarding and the key's
fingerprint, and writes them only after you say yes. You decide whether your agent is
forwarded (--forward-agent), never the place.

For a workspace that is known already: change whether your agent is forwarded.` +
			exitCodes(append(placeKinds, keyway.NotFound, keyway.NotRunning, keyway.NameTaken, keyway.Untrusted, keyway.BadConfig)...),
		Example:           "  keyway add gpu1/train\n  keyway add gpu1/train --forward-agent\n  keyway add gpu1/train --yes          in a script",
		Args:              takes(1, 1, "one workspace as PLACE/NAME"),
		ValidArgsFunction: completePlaceSlash,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runAdd(cmd.Context(), args[0], o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "answer yes")
	cmd.Flags().BoolVar(&o.forwardAgent, "forward-agent", false, "let every connection carry your agent into it")
	return cmd
}

func runAdd(ctx context.Context, arg string, o addOptions, stdout, news io.Writer) error {
	place, name, err := splitWorkspace(arg)
	if err != nil {
		return err
	}
	a, err := newApp()
	if err != nil {
		return err
	}
	known, err := a.hosts.Surroundings(ctx)
	if err != nil {
		return err
	}
	old, err := a.hosts.Lookup(arg)
	again := err == nil
	if !again {
		if err := known.CheckName(ctx, name); err != nil {
			return err
		}
	}
	e, err := a.offered(ctx, place, name)
	a.ui.end()
	if err != nil {
		return err
	}
	if again {
		if err := old.SameKey(e.HostKey); err != nil {
			return err
		}
		e.Engine, e.User, e.HostKey, e.Keys, e.Sent = old.Engine, old.User, old.HostKey, old.Keys, old.Sent
	}
	e.ForwardAgent = o.forwardAgent
	if err := a.prove(ctx, known, e); err != nil {
		return err
	}
	plain.Fprintf(news, "name:         %s\nplace:        %s\nuser:         %s\nagent:        %s\nfingerprint:  %s (proved just now)\n",
		e.Name, e.Place, e.User, forwardingText(e.ForwardAgent), e.Fingerprint())
	ok, err := confirm(ctx, news, "Add it?", "keyway add "+arg+" --yes", o.yes)
	if err != nil || !ok {
		return err
	}
	if err := a.hosts.Add(e); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s is known now: ssh %[1]s\n", e.Name)
	a.adviseInit(news)
	return nil
}

// completePlaceSlash completes the PLACE/ of PLACE/NAME. What is there only the place
// could say, and completing asks nobody.
func completePlaceSlash(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	places, directive := completePlaces(cmd, args, toComplete)
	for i := range places {
		places[i] += "/"
	}
	return places, directive | cobra.ShellCompDirectiveNoSpace
}

func forwardingText(on bool) string {
	if on {
		return "forwarded with every connection"
	}
	return "not forwarded"
}

// offered is the entry that a place offers for one of its workspaces.
func (a *app) offered(ctx context.Context, place keyway.Place, name keyway.Name) (sshconfig.Entry, error) {
	node, err := a.node(ctx, place)
	if err != nil {
		return sshconfig.Entry{}, err
	}
	list, err := node.List(ctx)
	if err != nil {
		return sshconfig.Entry{}, err
	}
	var named []keyway.Workspace
	for _, w := range list.Workspaces {
		if w.Name == name {
			named = append(named, w)
		}
	}
	switch {
	case len(named) == 0:
		return sshconfig.Entry{}, keyway.Errorf(keyway.NotFound, "there is no workspace %s at %s", name, place).
			Hint("see which there are: keyway ls --on %s", place)
	case len(named) > 1:
		return sshconfig.Entry{}, keyway.Errorf(keyway.Untrusted, "%s lists %d workspaces %s, and there can be but one", place, len(named), name)
	case named[0].State != keyway.Running:
		return sshconfig.Entry{}, keyway.Errorf(keyway.NotRunning, "%s does not run, and only a running workspace can prove its host key", name).
			Hint("start it: keyway start %s/%s", place, name)
	}
	return entryOf(place, keyway.Spec{Name: name}, named[0]), nil
}

// splitWorkspace reads PLACE/NAME.
func splitWorkspace(arg string) (keyway.Place, keyway.Name, error) {
	i := strings.LastIndexByte(arg, '/')
	if i < 0 {
		return "", "", keyway.Errorf(keyway.Usage, "%q names no place", arg).Hint("for example: keyway add gpu1/%s", arg)
	}
	place, err := keyway.ParsePlace(arg[:i])
	if err != nil {
		return "", "", err
	}
	name, err := keyway.ParseName(arg[i+1:])
	return place, name, err
}

// target is the workspace that arg names: one that this laptop knows, or any by
// PLACE/NAME.
func (a *app) target(arg string) (keyway.Place, keyway.Name, error) {
	e, err := a.lookup(arg)
	if err == nil {
		return e.Place, e.Name, nil
	}
	if place, name, other := splitWorkspace(arg); other == nil && keyway.Is(err, keyway.NotFound) {
		return place, name, nil
	}
	return "", "", err
}

// knownAt are the entries of a place.
func (a *app) knownAt(place keyway.Place) ([]sshconfig.Entry, error) {
	known, err := a.hosts.List()
	return slices.DeleteFunc(known, func(e sshconfig.Entry) bool { return e.Place != place }), err
}
