package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
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
now; what cannot be asked is listed as unknown, with the reason, and makes it fail.
Nothing is changed by it: workspaces that this laptop did not make are listed with the
command that adds them.
With NAME: list the jobs and terminals in that workspace, living and ended: since
when, how they ended, and the last line that they printed.` + exitCodes(append(placeKinds, keyway.NoKey, keyway.EngineDown)...),
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
				if columns := windowOf(cmd.OutOrStdout()); columns > 0 && !o.json {
					words = append(words, "--columns", strconv.Itoa(columns))
				}
				return inside{}.run(cmd.Context(), args[0], words...)
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

// placeTimeout is how long ls waits for one place, beside the time in which a
// person is asked.
const placeTimeout = 30 * time.Second

// runLs asks all places at once and prints what each answers when it does: a slow
// one does not hold back the others.
func runLs(ctx context.Context, o lsOptions, stdout, stderr io.Writer) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	machines, err := a.machines(ctx, o)
	if err != nil {
		return err
	}
	locked := a.watchLock(ctx)
	answers := make(chan listing)
	var asked sync.WaitGroup
	for _, m := range machines {
		asked.Go(func() { answers <- a.ask(ctx, m, locked) })
	}
	go func() { // ends with the last of those who are asked
		asked.Wait()
		close(answers)
	}()
	p := &lsPrinter{json: o.json, ui: a.ui, locked: locked, table: newPrintout(stdout), stdout: stdout, stderr: stderr, rows: []row{}}
	for l := range answers {
		if ctx.Err() == nil {
			p.add(l)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return p.end()
}

// lsPrinter prints what places answer: JSON at the end, for people at once.
type lsPrinter struct {
	json           bool
	ui             *terminalUI
	locked         *lockWatch
	table          *printout
	stdout, stderr io.Writer

	rows     []row
	failures []*keyway.Error
	err      error // of writing
}

func (p *lsPrinter) add(l listing) {
	p.rows = append(p.rows, l.rows...)
	p.failures = append(p.failures, l.problems...)
	if p.json {
		return
	}
	p.ui.end()
	for _, problem := range l.problems {
		if !p.locked.told(problem, p.stderr) {
			complain(p.stderr, problem)
		}
	}
	if err := p.table.add(l.rows); p.err == nil {
		p.err = err
	}
}

// end fails if anything could not be asked.
func (p *lsPrinter) end() error {
	switch {
	case p.json:
		slices.SortStableFunc(p.rows, byName)
		p.err = plain.JSON(p.stdout, p.rows)
	case len(p.rows) == 0 && len(p.failures) == 0:
		fmt.Fprintln(p.stdout, "no workspaces; make one with: keyway up --on PLACE --image IMAGE --name NAME")
	}
	switch {
	case p.err != nil || len(p.failures) == 0:
		return p.err
	case p.json:
		return p.failures[0]
	}
	return exitStatus(keyway.ExitCode(p.failures[0])) // all has been said
}

// machine is one machine with the names by which this laptop knows it as a place.
type machine struct {
	names []keyway.Place
	known []sshconfig.Entry // what this laptop knows there
}

// machines are those to be asked: of the places named, or those where this laptop
// knows a workspace, or all places that it knows.
func (a *app) machines(ctx context.Context, o lsOptions) ([]machine, error) {
	known, err := a.hosts.List()
	if err != nil {
		return nil, err
	}
	var places []keyway.Place
	switch {
	case len(o.on) > 0 || o.all:
		if places, err = a.places(o.on); err != nil {
			return nil, err
		}
	default:
		for _, e := range known {
			places = append(places, e.Place)
		}
	}
	slices.Sort(places)
	places = slices.Compact(places)
	var machines []machine
	for _, names := range sameMachines(ctx, places) {
		m := machine{names: names}
		for _, e := range known {
			if slices.Contains(names, e.Place) {
				m.known = append(m.known, e)
			}
		}
		machines = append(machines, m)
	}
	return machines, nil
}

// sameMachines puts together the places that ssh reaches in the same way, under
// the names gpu1 and ada@gpu1, say.
func sameMachines(ctx context.Context, places []keyway.Place) [][]keyway.Place {
	ways := make([]string, len(places))
	var resolved sync.WaitGroup
	for i, p := range places {
		ways[i] = string(p)
		if p == keyway.Local || len(places) == 1 {
			continue
		}
		resolved.Go(func() {
			if h, err := sshconfig.Resolve(ctx, p); err == nil {
				ways[i] = fmt.Sprintf("%s@%s:%s %q %q", h.User, h.HostName, h.Port, h.ProxyJump, h.ProxyCommand)
			}
		})
	}
	resolved.Wait()
	var machines [][]keyway.Place
	for i, p := range places {
		if first := slices.Index(ways, ways[i]); first < i {
			at := slices.IndexFunc(machines, func(m []keyway.Place) bool { return m[0] == places[first] })
			machines[at] = append(machines[at], p)
			continue
		}
		machines = append(machines, []keyway.Place{p})
	}
	return machines
}

// listing is what is told of one machine.
type listing struct {
	rows     []row
	problems []*keyway.Error
}

// ask lists one machine. It changes nothing, here or there.
func (a *app) ask(ctx context.Context, m machine, locked *lockWatch) listing {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	place := m.names[0]
	patience := time.AfterFunc(placeTimeout, cancel)
	defer patience.Stop()
	ui := a.ui.at(place)
	ui.before = func(q api.Question) error { patience.Stop(); return locked.refuse(q) }
	ui.after = func() { patience.Reset(placeTimeout) }
	var said api.Listing
	l, err := a.link(ctx)
	var node *api.Client
	if err == nil {
		node, err = l.Place(ctx, place, a.env(), ui)
	}
	if err == nil {
		said, err = node.List(ctx)
	}
	if err != nil && ctx.Err() != nil {
		err = keyway.Errorf(keyway.Unreachable, "%s has not answered within %v", place, placeTimeout).
			Hint("see where it stops: keyway status %s", place)
	}
	if err != nil {
		return listing{unasked(m, err), []*keyway.Error{keyway.AsError(err)}}
	}
	rows, problems := compare(m, said.Workspaces)
	return listing{rows, append(problems, said.Problems[:min(len(said.Problems), maxProblems)]...)}
}

// maxProblems bounds how many problems of its own a machine may tell: it has one
// for each engine.
const maxProblems = 8

// unasked is what this laptop knows of a machine that cannot be asked.
func unasked(m machine, why error) []row {
	var rows []row
	for _, e := range m.known {
		rows = append(rows, unseen(e, keyway.AsError(why).Message))
	}
	return rows
}

// maxStrangers bounds how many workspaces of one machine are listed that this
// laptop did not make: it can name any number.
const maxStrangers = 500

// compare holds what a machine lists against what this laptop knows of it.
func compare(m machine, said []keyway.Workspace) (rows []row, problems []*keyway.Error) {
	place := m.names[0]
	known := map[keyway.Name]sshconfig.Entry{}
	for _, e := range m.known {
		known[e.Name] = e
	}
	seen := map[keyway.Name]bool{}
	odd, more := 0, 0
	for _, w := range said {
		e, ours := known[w.Name]
		if _, err := keyway.ParseName(string(w.Name)); err != nil || seen[w.Name] {
			odd++
			continue
		}
		seen[w.Name] = true
		switch {
		case ours:
			w.Place = e.Place
			if w.Guest.HostKey != "" {
				if err := e.SameKey(w.Guest.HostKey); err != nil {
					problems = append(problems, keyway.AsError(err))
				}
			}
			rows = append(rows, row{Workspace: w, Known: true})
		case len(rows) >= len(known)+maxStrangers:
			more++
		default:
			w.Place = place
			rows = append(rows, row{Workspace: w, Add: fmt.Sprintf("keyway add %s/%s", place, w.Name)})
		}
	}
	for _, e := range m.known {
		if !seen[e.Name] {
			gone := unseen(e, fmt.Sprintf("%s does not list it; if it was removed: keyway forget %s", place, e.Name))
			gone.why = true
			rows = append(rows, gone)
		}
	}
	if odd > 0 {
		problems = append(problems, keyway.Errorf(keyway.Untrusted, "%s lists %s by impossible names, or twice", place, count(odd, "workspace")))
	}
	if more > 0 {
		problems = append(problems, keyway.Errorf(keyway.Untrusted, "%s lists %s more that this laptop did not make", place, count(more, "workspace")))
	}
	slices.SortStableFunc(rows, byName)
	return rows, problems
}
