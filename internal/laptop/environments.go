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

// OfTemplate tells what the workspaces of a template at one machine consist of. Those
// that do not run are in stopped.
func (here *Laptop) OfTemplate(ctx context.Context, m Machine, template string) (found []keyway.Environment, stopped []keyway.Name, err error) {
	node, err := here.Node(ctx, m.Place())
	if err != nil {
		return nil, nil, err
	}
	timed, cancel := context.WithTimeout(ctx, environmentTimeout)
	defer cancel()
	list, err := node.List(timed)
	if err != nil {
		return nil, nil, err
	}
	var names []keyway.Name
	for _, w := range list.Workspaces {
		if _, bad := keyway.ParseName(string(w.Name)); bad != nil || w.Template != template || slices.Contains(names, w.Name) {
			continue
		}
		if w.State == keyway.Running && len(names) < keyway.MaxEnvironments {
			names = append(names, w.Name)
		} else {
			stopped = append(stopped, w.Name)
		}
	}
	if len(names) == 0 {
		return nil, stopped, nil
	}
	found, err = node.Environments(timed, names)
	if timed.Err() != nil && ctx.Err() == nil {
		err = keyway.Errorf(keyway.Unreachable, "%s has not told what its workspaces consist of within %v", m.Place(), environmentTimeout).
			Advise(keyway.SeePlace, string(m.Place()))
	}
	return found, stopped, err
}
