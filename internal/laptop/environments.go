package laptop

import (
	"context"
	"slices"
	"time"

	"keyway/internal/keyway"
)

// environmentTimeout bounds the time in which a reached place examines its workspaces.
const environmentTimeout = 2 * time.Minute

// Place returns the name by which this laptop calls the machine first.
func (m Machine) Place() keyway.Place { return m.names[0] }

// OfTemplate returns the environments of the workspaces of a template on one machine. rest has
// the workspaces that it has not examined: they do not run, or are beyond MaxEnvironments.
// problems has the errors of engines whose workspaces may be missing.
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
		err = keyway.Errorf(keyway.Unreachable, "%s has not described its workspaces within %v", m.Place(), environmentTimeout).
			Advise(keyway.SeePlace, string(m.Place()))
	}
	return found, rest, problems, err
}
