package node

import (
	"context"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// adopter is an engine that can make workspaces of containers that others have made.
type adopter interface {
	// Containers returns the running containers that were not made as workspaces.
	Containers(ctx context.Context) ([]keyway.Container, error)
	// Adopt puts a guest beside the first process of a running container. The error is NotFound if
	// there is no container of that name or ID. If it fails or ctx ends, nothing is left.
	// Afterwards, Stop ends the guest, Start puts it there again, and Remove removes it. None of
	// them changes the container in any other way.
	Adopt(ctx context.Context, a keyway.Adoption, report func(keyway.Progress)) (keyway.Workspace, error)
}

// Containers implements api.Node.
func (n *Node) Containers(ctx context.Context) ([]keyway.Container, error) {
	all := []keyway.Container{}
	why, answered := error(noContainers()), false
	for _, e := range n.engines {
		a, ok := e.(adopter)
		if !ok {
			continue
		}
		found, err := a.Containers(ctx)
		all = append(all, found...)
		if err == nil {
			answered = true
		} else {
			why = nearer(why, err)
		}
	}
	if answered {
		return all, nil
	}
	return nil, why
}

func noContainers() *keyway.Error {
	return keyway.Errorf(keyway.EngineAbsent, "no engine of this place has containers that could be adopted").
		Advise(keyway.UseContainers)
}

// nearer returns the more useful of two errors about a missing container: that of a present engine
// rather than that another is not installed.
func nearer(a, b error) error {
	if keyway.Is(a, keyway.EngineAbsent) {
		return b
	}
	return a
}

// Adopt implements api.Node. The first engine that has the container counts. Published templates
// that allow nothing else do not allow this.
func (n *Node) Adopt(ctx context.Context, a keyway.Adoption, report func(keyway.Progress)) (keyway.Workspace, error) {
	if err := n.guest(); err != nil {
		return keyway.Workspace{}, err
	}
	if err := n.allowed(a.Spec()); err != nil {
		return keyway.Workspace{}, err
	}
	engines := n.engines
	if a.Engine != "" {
		e, err := n.choose(ctx, a.Spec(), report)
		if err != nil {
			return keyway.Workspace{}, err
		}
		if _, ok := e.(adopter); !ok {
			return keyway.Workspace{}, keyway.Errorf(keyway.Usage, "the engine %s has no containers, so there is none to adopt", e.Name()).
				Advise(keyway.SeeContainers)
		}
		engines = []engine.Engine{e}
	}
	return n.making(a.Name, func() (keyway.Workspace, error) { return n.adopt(ctx, engines, a, report) })
}

func (n *Node) adopt(ctx context.Context, engines []engine.Engine, a keyway.Adoption, report func(keyway.Progress)) (keyway.Workspace, error) {
	has, unknown := n.find(ctx, a.Name)
	if unknown != nil && !keyway.Is(unknown, keyway.NotFound) {
		return keyway.Workspace{}, unknown
	}
	why := error(noContainers())
	for _, e := range engines {
		by, ok := e.(adopter)
		if !ok {
			continue
		}
		if unknown == nil && has != e {
			return keyway.Workspace{}, engine.NameTaken(a.Name)
		}
		a.Engine = e.Name()
		w, err := by.Adopt(ctx, a, report)
		if err == nil || !keyway.Is(err, keyway.NotFound) && !isEngineUnusable(err) {
			return w, err
		}
		why = nearer(why, err)
	}
	return keyway.Workspace{}, why
}
