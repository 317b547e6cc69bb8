package laptop

import (
	"context"
	"slices"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// Offered returns the entry that a place offers for one of its workspaces.
func (here *Laptop) Offered(ctx context.Context, place keyway.Place, name keyway.Name) (sshconfig.Entry, error) {
	node, err := here.Node(ctx, place)
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
			Advise(keyway.SeeAt, string(place))
	case len(named) > 1:
		return sshconfig.Entry{}, keyway.Errorf(keyway.Untrusted, "%s lists %d workspaces %s, and there can be only one", place, len(named), name)
	case named[0].State != keyway.Running:
		return sshconfig.Entry{}, keyway.Errorf(keyway.NotRunning, "%s does not run, and only a running workspace can prove its host key", name).
			Advise(keyway.StartWorkspace, place.Of(name))
	}
	return EntryOf(place, keyway.Spec{Name: name}, named[0]), nil
}

// SplitWorkspace reads PLACE/NAME.
func SplitWorkspace(arg string) (keyway.Place, keyway.Name, error) {
	i := strings.LastIndexByte(arg, '/')
	if i < 0 {
		return "", "", keyway.Errorf(keyway.Usage, "%q is not PLACE/NAME", arg).Advise(keyway.ExampleOfAdding, arg).Advise(keyway.SeeAt, arg)
	}
	place, err := keyway.ParsePlace(arg[:i])
	if err != nil {
		return "", "", err
	}
	name, err := keyway.ParseName(arg[i+1:])
	return place, name, err
}

// Target returns the workspace that arg names: one that this laptop knows, or
// any by PLACE/NAME.
func (here *Laptop) Target(arg string) (keyway.Place, keyway.Name, error) {
	e, err := here.Lookup(arg)
	if err == nil {
		return e.Place, e.Name, nil
	}
	if place, name, other := SplitWorkspace(arg); other == nil && keyway.Is(err, keyway.NotFound) {
		return place, name, nil
	}
	return "", "", err
}

// KnownAt returns the entries of a place.
func (here *Laptop) KnownAt(place keyway.Place) ([]sshconfig.Entry, error) {
	known, err := here.Hosts.List()
	return slices.DeleteFunc(known, func(e sshconfig.Entry) bool { return e.Place != place }), err
}
