package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/plain"
)

func newLsCommand() *cobra.Command {
	var asJSON, all bool
	var on []string
	cmd := &cobra.Command{
		Use:     "ls [NAME]",
		Aliases: []string{"list"},
		Short:   "List workspaces at every place, or the jobs and terminals of one",
		Long: `List the workspaces at every place where this laptop has made one. Each place is
asked now; what cannot be asked is listed as unknown, with the reason.
With NAME: list the jobs and terminals in that workspace, living and ended: since
when, how they ended, and the last line that they printed.` + exitCodes(placeKinds...),
		Example:           "  keyway ls\n  keyway ls --json\n  keyway ls train",
		Args:              takes(0, 1, "at most one workspace"),
		ValidArgsFunction: completeWorkspaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				words := []string{"ls"}
				if asJSON {
					words = append(words, "--json")
				}
				if all {
					words = append(words, "-a")
				}
				return inside{}.run(cmd.Context(), args[0], words...)
			}
			return runLs(cmd.Context(), on, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "with NAME: all jobs on record, not only the ten that ended last")
	cmd.Flags().StringArrayVar(&on, "on", nil, "ask only this `place`; may be repeated")
	cmd.RegisterFlagCompletionFunc("on", completePlaces)
	return cmd
}

// placeTimeout is how long ls waits for one place.
const placeTimeout = 30 * time.Second

func runLs(ctx context.Context, on []string, asJSON bool, stdout, stderr io.Writer) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	places, err := a.places(on)
	if err != nil {
		return err
	}
	all := make([]placeListing, len(places))
	var asked sync.WaitGroup
	for i, p := range places {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, placeTimeout)
			defer cancel()
			all[i] = a.ask(ctx, p)
		})
	}
	asked.Wait()
	a.ui.end()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	list := []keyway.Workspace{}
	var failed error
	reached := 0
	for _, l := range all {
		list = append(list, l.Workspaces...)
		if l.err == nil {
			reached++
		} else {
			failed = l.err
			l.Problems = append(l.Problems, keyway.AsError(l.err))
		}
		if !asJSON {
			for _, p := range l.Problems {
				complain(stderr, p)
			}
		}
	}
	if asJSON {
		err = plain.JSON(stdout, list)
	} else {
		err = printWorkspaces(stdout, list)
	}
	if err == nil && reached == 0 {
		err = failed
	}
	return err
}

// placeListing is what one place answered.
type placeListing struct {
	api.Listing
	err error
}

// ask lists one place and lets ssh forget what is gone there. A place that
// cannot be asked keeps what this laptop remembers of it.
func (a *app) ask(ctx context.Context, place keyway.Place) placeListing {
	var l placeListing
	asked := time.Now()
	node, err := a.node(ctx, place)
	if err == nil {
		l.Listing, err = node.List(ctx)
	}
	if err == nil && len(l.Problems) == 0 {
		_, err = a.hosts.Reconcile(place, asked, l.Workspaces)
	}
	if err == nil {
		l.Problems = append(l.Problems, a.learn(place, l.Workspaces)...)
	}
	if err != nil {
		l = placeListing{Listing: api.Listing{Workspaces: a.remembered(place, err)}, err: err}
	}
	for i := range l.Workspaces {
		l.Workspaces[i].Place = place
	}
	return l
}

// learn lets ssh know what was made at place from another laptop, and tells of
// workspaces that show another host key than the remembered one. A name that
// stands for something else here stays that.
func (a *app) learn(place keyway.Place, list []keyway.Workspace) []*keyway.Error {
	var problems []*keyway.Error
	for _, w := range list {
		known, err := a.hosts.Lookup(string(w.Name))
		if w.Guest.HostKey == "" || err == nil && (known.Place != place || known.HostKey == w.Guest.HostKey) {
			continue
		}
		w.Place = place
		if err := a.remember(w, false); err != nil {
			problems = append(problems, keyway.AsError(err))
		}
	}
	return problems
}

// remembered is what this laptop knows of a place that cannot be asked.
func (a *app) remembered(place keyway.Place, why error) []keyway.Workspace {
	var list []keyway.Workspace
	known, _ := a.hosts.List()
	for _, e := range known {
		if e.Place == place {
			list = append(list, keyway.Workspace{
				Name: e.Name, Engine: e.Engine, State: keyway.Unknown, Reason: keyway.AsError(why).Message,
				Created: e.Created, Sessions: -1,
			})
		}
	}
	return list
}

func printWorkspaces(out io.Writer, list []keyway.Workspace) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "no workspaces; make one with: keyway up --on PLACE --image IMAGE --name NAME")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tPLACE\tENGINE\tSTATE\tGPUS\tJOBS\tAGE\tIMAGE")
	for _, ws := range list {
		state := string(ws.State)
		if ws.Reason != "" && ws.Reason != "was "+state && ws.State != keyway.Unknown {
			state += " (" + ws.Reason + ")"
		}
		jobs := "?"
		if ws.Sessions >= 0 {
			jobs = strconv.Itoa(ws.Sessions)
		}
		plain.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			ws.Name, ws.Place, ws.Engine, state, ws.GPUs, jobs, sinceText(ws.Created), ws.Image)
	}
	return w.Flush()
}

func sinceText(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return age(time.Since(t))
}
