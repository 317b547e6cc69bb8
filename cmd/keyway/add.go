package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
)

type addOptions struct {
	yes, forwardAgent bool
}

func newAddCommand() *cobra.Command {
	var o addOptions
	cmd := &cobra.Command{
		Use:   "add PLACE/NAME",
		Short: "Register a workspace that was made on another laptop",
		Long: `Register a workspace that this laptop did not make, so that ssh knows it. The workspace
first proves its host key. Then keyway shows its name, place and user, whether your agent
is forwarded, and the key's fingerprint, and writes them down only after you say yes. You
decide whether your agent is forwarded (--forward-agent); the place never does.

For a workspace that is known already, this changes whether your agent is forwarded.` +
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
	place, name, err := laptop.SplitWorkspace(arg)
	if err != nil {
		return err
	}
	a, err := newApp()
	if err != nil {
		return err
	}
	known, err := a.Hosts.Surroundings(ctx)
	if err != nil {
		return err
	}
	old, err := a.Hosts.Lookup(arg)
	again := err == nil
	if !again {
		if err := known.CheckName(ctx, name); err != nil {
			return err
		}
	}
	e, err := a.Offered(ctx, place, name)
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
	if err := a.Prove(ctx, known, e); err != nil {
		return err
	}
	plain.Fprintf(news, "name:         %s\nplace:        %s\nuser:         %s\nagent:        %s\nfingerprint:  %s (proved just now)\n",
		e.Name, e.Place, e.User, forwardingText(e.ForwardAgent), e.Fingerprint())
	ok, err := confirm(ctx, news, "Add it?", "keyway add "+arg+" --yes", o.yes)
	if err != nil {
		return err
	}
	if !ok {
		return declined("nothing was added")
	}
	if err := a.Hosts.Add(e); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s is known now: ssh %[1]s\n", e.Name)
	a.adviseInit(news)
	return nil
}

// completePlaceSlash completes PLACE/, the first half of PLACE/NAME. Completion connects to no
// place, so it cannot complete NAME.
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
