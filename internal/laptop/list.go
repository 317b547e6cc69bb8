package laptop

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/sshconfig"
)

// Row is the row of ls for one workspace.
type Row struct {
	keyway.Workspace
	Known bool `json:"known"` // this laptop made or added it
	// The face writes these: how it is added where this laptop did not, and Next in words.
	Add  string `json:"add,omitempty"`
	Help string `json:"help,omitempty"`

	Why bool `json:"-"` // Reason is shown also of an unknown state: nothing else tells it
}

// ByName orders rows by place and name.
func ByName(a, b Row) int {
	return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(a.Name, b.Name))
}

// unseen returns a row for a workspace that this laptop knows and that its place has not
// reported.
func unseen(e sshconfig.Entry, why string) Row {
	return Row{Known: true, Workspace: keyway.Workspace{
		Name: e.Name, Place: e.Place, Engine: e.Engine, State: keyway.Unknown, Reason: why,
		Created: e.Created, Sessions: -1,
	}}
}

// placeTimeout is the time that ls waits for one place, beside the time in which a
// person is asked.
const placeTimeout = 30 * time.Second

// Machine is one machine with the names by which this laptop knows it as a place.
type Machine struct {
	names []keyway.Place
	known []sshconfig.Entry // what this laptop knows there
}

// Known returns the workspaces that this laptop knows on the machine.
func (m Machine) Known() []sshconfig.Entry { return m.known }

// Machines returns the machines to ask: those of the named places; without names, those where this
// laptop knows a workspace or, with all, those of all places that it knows.
func (here *Laptop) Machines(ctx context.Context, named []string, all bool) ([]Machine, error) {
	known, err := here.Hosts.List()
	if err != nil {
		return nil, err
	}
	var places []keyway.Place
	switch {
	case len(named) > 0 || all:
		if places, err = here.Places(named); err != nil {
			return nil, err
		}
	default:
		for _, e := range known {
			places = append(places, e.Place)
		}
	}
	slices.Sort(places)
	places = slices.Compact(places)
	var machines []Machine
	for _, names := range sameMachines(ctx, places) {
		m := Machine{names: names}
		for _, e := range known {
			if slices.Contains(names, e.Place) {
				m.known = append(m.known, e)
			}
		}
		machines = append(machines, m)
	}
	return machines, nil
}

// sameMachines puts together the places that ssh reaches by the same route, under
// the names gpu1 and ada@gpu1, say.
func sameMachines(ctx context.Context, places []keyway.Place) [][]keyway.Place {
	routes := make([]string, len(places))
	var resolved sync.WaitGroup
	for i, p := range places {
		routes[i] = string(p)
		if p == keyway.Local || len(places) == 1 {
			continue
		}
		resolved.Go(func() {
			if h, err := sshconfig.Resolve(ctx, p); err == nil {
				routes[i] = fmt.Sprintf("%s@%s:%s %q %q", h.User, h.HostName, h.Port, h.ProxyJump, h.ProxyCommand)
			}
		})
	}
	resolved.Wait()
	var machines [][]keyway.Place
	for i, p := range places {
		if first := slices.Index(routes, routes[i]); first < i {
			at := slices.IndexFunc(machines, func(m []keyway.Place) bool { return m[0] == places[first] })
			machines[at] = append(machines[at], p)
			continue
		}
		machines = append(machines, []keyway.Place{p})
	}
	return machines
}

// Listing is the report about one machine.
type Listing struct {
	Rows     []Row
	Problems []*keyway.Error
}

// ErrLocked says why many places at once cannot be reached.
var ErrLocked = keyway.Errorf(keyway.NoKey, "the agent is locked, or holds no key").Advise(keyway.UnlockKey)

// List lists one machine. It changes nothing, here or there, and does not ask for the
// passphrase of a key file if no agent has a key: each place would ask for it, and a
// command of its own does.
func (here *Laptop) List(ctx context.Context, m Machine) Listing {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	place := m.names[0]
	timeout := time.AfterFunc(placeTimeout, cancel)
	defer timeout.Stop()
	ui := here.at(place)
	ui.before = func(q api.Question) error {
		timeout.Stop()
		if q.NoKey && q.Kind == "" && strings.HasPrefix(q.Prompt, link.KeyQuestion) {
			return ErrLocked
		}
		return nil
	}
	ui.after = func() { timeout.Reset(placeTimeout) }
	var said api.Listing
	l, err := here.Link(ctx)
	var node *api.Client
	if err == nil {
		node, err = here.reach(ctx, l, place, ui)
	}
	if err == nil {
		said, err = node.List(ctx)
	}
	if err != nil && ctx.Err() != nil {
		err = keyway.Errorf(keyway.Unreachable, "%s has not answered within %v", place, placeTimeout).
			Advise(keyway.SeePlace, string(place))
	}
	if err != nil {
		return Listing{unasked(m, err), []*keyway.Error{keyway.AsError(err)}}
	}
	rows, problems := compare(m, said.Workspaces)
	return Listing{rows, append(problems, said.Problems[:min(len(said.Problems), maxProblems)]...)}
}

// maxProblems bounds how many problems of its own a machine may tell: it has one
// for each engine.
const maxProblems = 8

// unasked returns what this laptop knows about a machine that cannot be asked.
func unasked(m Machine, why error) []Row {
	var rows []Row
	for _, e := range m.known {
		rows = append(rows, unseen(e, keyway.AsError(why).Message))
	}
	return rows
}

// maxStrangers bounds how many workspaces of one machine are listed that this
// laptop did not make: it can name any number.
const maxStrangers = 500

// compare compares a machine's list with this laptop's records of it.
func compare(m Machine, said []keyway.Workspace) (rows []Row, problems []*keyway.Error) {
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
			rows = append(rows, Row{Workspace: w, Known: true})
		case len(rows) >= len(known)+maxStrangers:
			more++
		default:
			w.Place = place
			rows = append(rows, Row{Workspace: w})
		}
	}
	for _, e := range m.known {
		if !seen[e.Name] {
			gone := unseen(e, string(place)+" does not list it")
			gone.Why, gone.Next = true, keyway.ForgetIfRemoved
			rows = append(rows, gone)
		}
	}
	if odd > 0 {
		problems = append(problems, keyway.Errorf(keyway.Untrusted, "%s lists %s by impossible names, or twice", place, Count(odd, "workspace")))
	}
	if more > 0 {
		problems = append(problems, keyway.Errorf(keyway.Untrusted, "%s lists %s more that this laptop did not make", place, Count(more, "workspace")))
	}
	slices.SortStableFunc(rows, ByName)
	return rows, problems
}
