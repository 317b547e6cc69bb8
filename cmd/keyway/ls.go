package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
)

type lsOptions struct {
	on        []string
	all, json bool
}

func newLsCommand() *cobra.Command {
	var o lsOptions
	cmd := &cobra.Command{
		Use:     "ls [NAME]",
		Aliases: []string{"list"},
		Short:   "List workspaces, or the jobs and terminals of one",
		Long: `List the workspaces at every place where this laptop knows one. Each place is asked
now. If a place does not answer, its workspaces are listed as unknown, with the reason, and
the command fails. It changes nothing: workspaces that this laptop did not make are listed
with the command that adds them.

With NAME: list the jobs and terminals in that workspace, running and ended: their start,
their end, and the last line that they printed. Below them are the kernels of a Jupyter
server that keyway open has started: busy or idle, and their notebooks. With --json, the
field "kernels" of the job that serves them has them.` + exitCodes(append(placeKinds, keyway.NoKey, keyway.EngineDown)...),
		Example:           "  keyway ls\n  keyway ls --json\n  keyway ls --on gpu2\n  keyway ls train",
		Args:              takes(0, 1, "at most one workspace"),
		ValidArgsFunction: completeWorkspaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				words := []string{"ls"}
				if o.json {
					words = append(words, "--json")
				}
				if o.all {
					words = append(words, "-a")
				}
				columns := windowOf(cmd.OutOrStdout())
				if columns > 0 && !o.json {
					words = append(words, "--columns", strconv.Itoa(columns))
				}
				if o.json {
					return listJobsJSON(cmd.Context(), args[0], words, cmd.OutOrStdout())
				}
				return listJobs(cmd.Context(), args[0], words, columns, cmd.OutOrStdout())
			}
			return runLs(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&o.all, "all", "a", false, "ask all places that were ever used, and this machine;\nwith NAME: all jobs on record, not only the ten that ended last")
	cmd.Flags().StringArrayVar(&o.on, "on", nil, "ask only `PLACE`; may be repeated")
	cmd.RegisterFlagCompletionFunc("on", completePlaces)
	return cmd
}

// runLs asks all places at once and prints each answer as it arrives, so that a slow place does
// not delay the others.
func runLs(ctx context.Context, o lsOptions, stdout, stderr io.Writer) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	machines, err := a.Machines(ctx, o.on, o.all)
	if err != nil {
		return err
	}
	answers := make(chan laptop.Listing)
	var asked sync.WaitGroup
	for _, m := range machines {
		asked.Go(func() { answers <- a.List(ctx, m) })
	}
	go func() { // ends when all have answered
		asked.Wait()
		close(answers)
	}()
	p := &lsPrinter{json: o.json, ui: a.ui, table: newPrintout(stdout, machines), stdout: stdout, stderr: stderr, rows: []laptop.Row{}}
	for l := range answers {
		if ctx.Err() == nil {
			p.add(l)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, m := range machines {
		if err := a.CheckEngine(ctx, m.Place()); err != nil && !o.json {
			complain(stderr, keyway.AsError(err))
		}
	}
	return p.end()
}

// lsPrinter prints the answers of places: as a table when they arrive, or as JSON at the end.
type lsPrinter struct {
	json           bool
	ui             *terminalUI
	locked         bool // the user has been told that the agent is locked
	table          *printout
	stdout, stderr io.Writer

	rows     []laptop.Row
	failures []*keyway.Error
	err      error // of a write
}

func (p *lsPrinter) add(l laptop.Listing) {
	for i, r := range l.Rows {
		l.Rows[i].Help = nextOfWorkspace(r.Workspace)
		if !r.Known {
			l.Rows[i].Add = "keyway add " + r.Place.Of(r.Name)
		}
	}
	p.rows = append(p.rows, l.Rows...)
	p.failures = append(p.failures, l.Problems...)
	if p.json {
		return
	}
	p.ui.end()
	for _, problem := range l.Problems {
		locked := problem.Kind == keyway.NoKey && problem.Host == "" // a place may claim anything
		switch {
		case !locked:
			complain(p.stderr, problem)
		case !p.locked:
			p.locked = true
			complain(p.stderr, laptop.ErrLocked)
		}
	}
	if err := p.table.add(l.Rows); p.err == nil {
		p.err = err
	}
}

// end returns an error if a place could not be asked.
func (p *lsPrinter) end() error {
	switch {
	case p.json:
		slices.SortStableFunc(p.rows, laptop.ByName)
		p.err = printJSON(p.stdout, p.rows)
	case len(p.rows) == 0 && len(p.failures) == 0:
		fmt.Fprintln(p.stdout, toFill("no workspaces; make one with: keyway up --on PLACE --image IMAGE --name NAME"))
	}
	switch {
	case p.err != nil || len(p.failures) == 0:
		return p.err
	case p.json:
		return p.failures[0]
	}
	return exitStatus(keyway.ExitCode(p.failures[0])) // everything has been printed
}
