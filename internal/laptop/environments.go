package laptop

import (
	"context"
	"slices"
	"time"

	"keyway/internal/keyway"
)

// environmentTimeout is how long a place may take to look into its workspaces once it is
// reached.
const environmentTimeout = 2 * time.Minute

// Place is the name by which this laptop calls the machine first.
func (m Machine) Place() keyway.Place { return m.names[0] }

// OfTemplate tells what the workspaces of a template at one machine consist of. Those that
// it has not looked into are in rest: they do not run, or are more than MaxEnvironments. The
// problems are those of the machine's engines, whose workspaces are not all known.
func (here *Laptop) OfTemplate(ctx context.Context, m Machine, template string) (found []keyway.Environment, rest []keyway.Workspace, problems []*keyway.Error, err error) {
	node, err := here.Node(ctx, m.Place())
	if err != nil {
		return nil, nil, nil, err
	}
	timed, cancel := context.WithTimeout(ctx, environmentTimeout)
	defer cancel()
	list, err := node.List(timed)
	if err != nil {
		return nil, nil, nil, err
	}
	problems = list.Problems[:min(len(list.Problems), maxProblems)]
	var names []keyway.Name
	for _, w := range list.Workspaces {
		if _, bad := keyway.ParseName(string(w.Name)); bad != nil || w.Template != template || slices.Contains(names, w.Name) {
			continue
		}
		if w.State == keyway.Running && len(names) < keyway.MaxEnvironments {
			names = append(names, w.Name)
		} else {
			rest = append(rest, w)
		}
	}
	if len(names) == 0 {
		return nil, rest, problems, nil
	}
	found, err = node.Environments(timed, names)
	if timed.Err() != nil && ctx.Err() == nil {
		err = keyway.Errorf(keyway.Unreachable, "%s has not told what its workspaces consist of within %v", m.Place(), environmentTimeout).
			Advise(keyway.SeePlace, string(m.Place()))
	}
	return found, rest, problems, err
}
