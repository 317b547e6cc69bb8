package main

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
	"keyway/internal/table"
)

type adoptOptions struct {
	up                 upOptions // shared with up, which chooses and names keys in the same way
	place, name        string
	engine, user       string
	forwardAgent, json bool
}

func newAdoptCommand() *cobra.Command {
	var o adoptOptions
	cmd := &cobra.Command{
		Use:   "adopt [CONTAINER] [--on PLACE] [--name NAME]",
		Short: "Make a workspace of a container that runs already",
		Long: `Make a workspace of a container that somebody has started with docker run, docker compose
or podman: "ssh NAME" then enters it. keyway copies a small SSH server into it and starts
that beside the container's first process. The container is not restarted, and nothing else
in it is changed, with one exception: a user who has no entry in its /etc/passwd, and may
write to that file, gets one. Without CONTAINER, list the containers of the place that run.

Afterwards NAME is a workspace like any other, except that the container is not keyway's:
keyway stop ends the SSH server and all that was started through it, keyway start puts it
there again (also after the container was restarted), and keyway rm removes it. None of them
stops, starts or removes the container. The home directory of a user who has none in the
container is ` + ownHome + `, which keyway rm deletes with the files in it. The container's
limits apply to everything that you run in it. A container that was removed and made again
under the same name has to be adopted again.

Not possible: a container with a read-only root file system, one that does not run, one that
is a workspace already, and the engine ` + keyway.EngineWith(false) + `, which has no containers.` +
			exitCodes(append(placeKinds, keyway.NoKey, keyway.EngineAbsent, keyway.EngineDown, keyway.EngineForbidden,
				keyway.NameTaken, keyway.NotFound, keyway.NotRunning, keyway.Untrusted, keyway.NotAllowed, keyway.GuestFailed, keyway.NoSpace, keyway.BadConfig)...),
		Example: `  keyway adopt --on gpu1                      which containers run there
  keyway adopt gpu_train --on gpu1            then: ssh gpu_train
  keyway adopt gpu_train --on gpu1 --name train --user 1000:1000`,
		Args:              takes(0, 1, "a container"),
		ValidArgsFunction: completeContainers,
		PreRunE:           refuseEmpty,
		RunE: func(cmd *cobra.Command, args []string) error {
			place, err := keyway.ParsePlace(o.place)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				if err := o.onlyLists(cmd); err != nil {
					return err
				}
				return listContainers(cmd.Context(), place, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			if o.up.mux, err = muxWanted(cmd, o.up.mux); err != nil {
				return err
			}
			return runAdopt(cmd.Context(), o, place, args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.place, "on", string(keyway.Local), "the container runs at `PLACE`: a host of your ~/.ssh/config, or local")
	f.StringVar(&o.name, "name", "", "call the workspace, and its ssh host, `NAME` (default: the container's)")
	f.StringVar(&o.engine, "engine", "", "take the container of `ENGINE`: "+strings.Join(keyway.EnginesOfImages(), " or ")+" (default: the first that has it)")
	f.StringVar(&o.user, "user", "", "log in as `USER` or uid[:gid] inside (default: the one that the container was started as)")
	f.StringArrayVar(&o.up.keys, "key", nil, "let the public `KEY` enter: its file, or its fingerprint or comment in the agent; may be repeated\n(default: those that your ssh has for the place, else all that the agent holds)")
	f.BoolVar(&o.forwardAgent, "forward-agent", false, "let every connection carry your agent into it (ssh -A does it for one)")
	f.BoolVar(&o.up.mux, "mux", false, "let ssh share a connection that is kept open, as keyway mux on does\n(default: what mux in config.yaml says)")
	f.BoolVar(&o.json, "json", false, "print the workspace, or the containers, as JSON")
	cmd.RegisterFlagCompletionFunc("on", completePlaces)
	cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(keyway.EnginesOfImages(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// ownHome is the home directory that keyway makes in the container for a user that has none
// there.
var ownHome = keyway.GuestHome.Data() + "/home"

// adoption returns the request to the node, without the keys.
func (o adoptOptions) adoption(container string) (keyway.Adoption, error) {
	a := keyway.Adoption{Engine: o.engine, Container: container, User: o.user, Access: keyway.Access{ForwardAgent: o.forwardAgent}}
	if err := cmp.Or(keyway.CheckContainer(container), keyway.CheckUser(o.user)); err != nil {
		return a, err
	}
	name := o.name
	if name == "" { // a workspace's name has neither dots nor capitals: see sshconfig.CheckName
		name = strings.ReplaceAll(strings.ToLower(container), ".", "-")
	}
	var err error
	a.Name, err = parseName(name, o.name != "")
	return a, err
}

func runAdopt(ctx context.Context, o adoptOptions, place keyway.Place, container string, stdout, news io.Writer) error {
	asked, err := o.adoption(container)
	if err != nil {
		return at(place, err)
	}
	a, err := newApp()
	if err != nil {
		return err
	}
	known, keys, err := a.entrance(ctx, place, asked.Name, o.up.keys)
	if err != nil {
		return err
	}
	for _, k := range keys.Keys {
		asked.AuthorizedKeys = append(asked.AuthorizedKeys, k.Line())
	}
	there, err := a.NodeWithEngine(ctx, place, asked.Engine)
	if err != nil {
		return err
	}
	a.ui.end()
	tellKeys(news, keys)
	made, err := adoptThere(ctx, a, there, place, asked)
	if err != nil {
		return err
	}
	if err := a.Pin(ctx, known, laptop.Made{Place: place, Asked: asked.Spec(), Got: made, Named: o.up.named(), Keys: keys}); err != nil {
		return a.Undo(ctx, there, place, asked.Name, err)
	}
	made.Place = place
	if o.up.mux {
		a.switchMux(ctx, asked.Name, news)
	}
	if o.json {
		return printJSON(stdout, made)
	}
	plain.Fprintf(stdout, "%s is the container %s at %s (%s): ssh %s\n", asked.Name, container, place, made.Engine, asked.Name)
	if made.Guest.Home == ownHome {
		plain.Fprintf(stdout, "its user has no other home directory than %s, which keyway rm deletes\n", ownHome)
	}
	a.adviseInit(news)
	return nil
}

// adoptThere has the place adopt the container. If ctx ends first, adoptThere waits until the place
// has undone an unfinished adoption.
func adoptThere(ctx context.Context, a *app, there *api.Client, place keyway.Place, asked keyway.Adoption) (keyway.Workspace, error) {
	made, err := there.Adopt(ctx, asked, a.Heard(place))
	a.ui.end()
	if ctx.Err() != nil {
		err := a.WaitIdle(there, asked.Name)
		a.ui.end()
		return made, err
	}
	return made, err
}

// onlyLists refuses options that have no effect without CONTAINER.
func (o adoptOptions) onlyLists(cmd *cobra.Command) error {
	for _, flag := range []string{"name", "user", "key", "forward-agent", "mux"} {
		if cmd.Flags().Changed(flag) {
			return keyway.Errorf(keyway.Usage, "--%s is for a container that is adopted, and none is named", flag).
				Hint("name it: keyway adopt CONTAINER")
		}
	}
	if o.engine != "" && !slices.Contains(keyway.EnginesOfImages(), o.engine) {
		return keyway.Errorf(keyway.Usage, "the engine %.40q has no containers", o.engine).
			Hint("those that have: %s", strings.Join(keyway.EnginesOfImages(), ", "))
	}
	return nil
}

func listContainers(ctx context.Context, place keyway.Place, o adoptOptions, stdout, news io.Writer) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	there, err := a.NodeWithEngine(ctx, place, o.engine)
	if err != nil {
		return err
	}
	list, err := there.Containers(ctx)
	a.ui.end()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(c keyway.Container) bool {
		return o.engine != "" && c.Engine != o.engine || keyway.CheckContainer(c.Name) != nil // no engine gives a container such a name
	})
	slices.SortFunc(list, func(a, b keyway.Container) int { return cmp.Compare(a.Name, b.Name) })
	if o.json {
		return printJSON(stdout, list)
	}
	if len(list) == 0 {
		_, err := plain.Fprintf(stdout, "no container that could be adopted runs at %s\n", place)
		return err
	}
	const image = 2
	rows := [][]string{{"CONTAINER", "ENGINE", "IMAGE", "AGE", "WORKSPACE"}}
	for i, c := range list {
		if i == maxListed {
			break
		}
		workspace := string(c.Workspace)
		if c.Unclear != "" {
			workspace = "?"
			plain.Fprintf(news, "%s has a guest of yours: %s\n", c.Name, c.Unclear)
		}
		rows = append(rows, lineCells(c.Name, c.Engine, c.Image, sinceText(c.Created), workspace))
	}
	t := table.Table{Window: windowOf(stdout), Yield: []int{image}}
	_, err = io.WriteString(stdout, t.Rows(rows))
	return err
}

// completeContainers completes the containers of the place that --on names, if that place is
// connected.
func completeContainers(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	on, err := cmd.Flags().GetString("on")
	if len(args) > 0 || err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	place, err := keyway.ParsePlace(on)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	a, err := newApp()
	if err != nil || place != keyway.Local && !a.IsUp(ctx, place) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	there, err := a.Node(ctx, place)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := there.Containers(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeNames(list), cobra.ShellCompDirectiveNoFileComp
}

// completeNames returns the containers that are not yet workspaces, with the names that the place
// gave.
func completeNames(list []keyway.Container) (names []cobra.Completion) {
	for _, c := range list {
		if c.Workspace == "" && c.Unclear == "" && keyway.CheckContainer(c.Name) == nil {
			names = append(names, cobra.CompletionWithDesc(c.Name, plain.Line(c.Image+", "+age(time.Since(c.Created)))))
		}
	}
	return names
}
