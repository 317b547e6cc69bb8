// Package node runs workspaces at one place: it serves the API over the engines that the place has.
// It keeps no state in memory that it cannot query again, so any number of nodes may start and end.
// The process around it is package noded. Begin with New, and with api.Node, which it implements.
package node

import (
	"cmp"
	"context"
	"errors"
	"net"
	"os"
	"os/user"
	"runtime"
	"slices"
	"sync"
	"time"

	"keyway/internal/api"
	"keyway/internal/catalogue"
	"keyway/internal/engine"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

// Node is an api.Node over engines.
type Node struct {
	engines []engine.Engine // in the order of preference
	homes   engine.Homes
	// guest installs the guest program if it is not there; nil: it is.
	guest func() error
	gpus  *gpu.Pool
	// published is the directory of the place's own templates, and its owner, root.
	published shelf
	unused    unused
}

var _ api.Node = (*Node)(nil)

// New makes a node of engines, the preferred one first, whose workspaces have their Homes in homes.
// guest installs the guest program; its error is the reason for which nothing can be created now.
// It is called for each workspace, because a full disk may have space by then. Everything else
// works without the program: on a full disk, removing workspaces helps. A nil guest means that the
// program is there.
func New(homes engine.Homes, guest func() error, engines ...engine.Engine) *Node {
	if guest == nil {
		guest = func() error { return nil }
	}
	return &Node{engines: engines, homes: homes, guest: guest, gpus: gpu.Here(), published: shelf{dir: catalogue.Dir}}
}

// Info implements api.Node.
func (n *Node) Info(ctx context.Context) (api.Info, error) {
	info := api.Info{Version: keyway.Version, OS: runtime.GOOS, Arch: runtime.GOARCH}
	info.Host, _ = os.Hostname()
	if u, err := user.Current(); err == nil {
		info.User = u.Username
	}
	for _, e := range n.engines {
		err := e.Probe(ctx)
		info.Engines = append(info.Engines, api.EngineInfo{Name: e.Name(), Usable: err == nil, Why: keyway.AsError(err), Abilities: Abilities(e)})
	}
	return info, nil
}

// List implements api.Node. If an engine cannot be asked, the Homes of its workspaces show that
// they exist.
func (n *Node) List(ctx context.Context) (api.Listing, error) {
	var (
		mu   sync.Mutex
		list api.Listing
		all  sync.WaitGroup
	)
	for _, e := range n.engines {
		all.Go(func() {
			found, err := e.List(ctx)
			var orphaned []keyway.Workspace
			if err == nil {
				orphaned = n.orphaned(ctx, e, found)
			}
			mu.Lock()
			defer mu.Unlock()
			list.Workspaces = append(list.Workspaces, slices.Concat(found, orphaned)...)
			if err != nil && !keyway.Is(err, keyway.EngineAbsent) {
				unseen := n.unseen(e.Name(), keyway.AsError(err))
				list.Workspaces = append(list.Workspaces, unseen...)
				if len(unseen) > 0 || !isEngineUnusable(err) {
					list.Problems = append(list.Problems, keyway.AsError(err))
				}
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return api.Listing{}, err
	}
	list.Workspaces = append(list.Workspaces, n.elsewhere()...)
	list.Workspaces = append(list.Workspaces, without(n.unreadable(), list.Workspaces)...)
	slices.SortFunc(list.Workspaces, func(a, b keyway.Workspace) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func isEngineUnusable(err error) bool {
	return keyway.Is(err, keyway.EngineAbsent) || keyway.Is(err, keyway.EngineDown) || keyway.Is(err, keyway.EngineForbidden)
}

// Create implements api.Node.
func (n *Node) Create(ctx context.Context, s keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error) {
	if err := n.guest(); err != nil {
		return keyway.Workspace{}, err
	}
	if err := n.allowed(s); err != nil {
		return keyway.Workspace{}, err
	}
	e, err := n.choose(ctx, s, report)
	if err != nil {
		return keyway.Workspace{}, err
	}
	// The engine itself knows best whether it still has the workspace of a Home: a user may have
	// removed the container without keyway.
	switch has, err := n.find(ctx, s.Name); {
	case err == nil && has != e:
		return keyway.Workspace{}, engine.NameTaken(s.Name)
	case err != nil && !keyway.Is(err, keyway.NotFound):
		return keyway.Workspace{}, err
	}
	s.Engine = e.Name()
	if s.Image == "" && keyway.UsesImages(s.Engine) {
		s.Image = keyway.DefaultImage
		report(keyway.Progress{Message: "no image was named: using " + s.Image})
	}
	return n.making(s.Name, func() (keyway.Workspace, error) { return e.Create(ctx, s, report) })
}

// choose returns the engine that the user named, or the first that works. It reports which one, and
// why not the ones before it. Plain processes never replace an image that the user named.
func (n *Node) choose(ctx context.Context, s keyway.Spec, report func(keyway.Progress)) (engine.Engine, error) {
	if s.Engine == "" {
		candidates := slices.Clone(n.engines)
		if s.Image != "" {
			candidates = slices.DeleteFunc(candidates, func(e engine.Engine) bool { return !keyway.UsesImages(e.Name()) })
		}
		e, why, err := engine.Choose(ctx, candidates)
		if err == nil {
			report(keyway.Progress{Message: why})
		}
		return e, err
	}
	for _, e := range n.engines {
		if e.Name() == s.Engine {
			return e, e.Probe(ctx)
		}
	}
	return nil, keyway.Errorf(keyway.Usage, "there is no engine %q", s.Engine).Hint("choose one of: %s", keyway.EngineChoice())
}

// find returns the engine that has the workspace. The error is NotFound only if none is known to
// have it, and no Record that another machine owns or that cannot be read has its name.
func (n *Node) find(ctx context.Context, name keyway.Name) (engine.Engine, error) {
	rec, err := n.homes.Known(name)
	if err != nil {
		return nil, err
	}
	for _, e := range n.engines {
		if e.Name() == rec.Spec.Engine {
			return e, nil
		}
	}
	var down error
	for _, e := range n.engines {
		list, err := e.List(ctx)
		if slices.ContainsFunc(list, func(w keyway.Workspace) bool { return w.Name == name }) {
			return e, nil
		}
		if err != nil && !keyway.Is(err, keyway.EngineAbsent) {
			down = err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if down != nil && !isEngineUnusable(down) {
		return nil, engine.NotFound(name).Hint("one engine could not be asked: %v", down)
	}
	return nil, engine.NotFound(name)
}

// Start implements api.Node.
func (n *Node) Start(ctx context.Context, name keyway.Name) error {
	return n.with(ctx, name, engine.Engine.Start)
}

// Stop implements api.Node.
func (n *Node) Stop(ctx context.Context, name keyway.Name, grace time.Duration) error {
	return n.with(ctx, name, func(e engine.Engine, ctx context.Context, name keyway.Name) error { return e.Stop(ctx, name, grace) })
}

// Remove implements api.Node.
func (n *Node) Remove(ctx context.Context, name keyway.Name) error {
	return n.with(ctx, name, engine.Engine.Remove)
}

// Purge implements api.Node.
func (n *Node) Purge(ctx context.Context, name keyway.Name) error {
	return n.removeWith(ctx, name, func(rec engine.Record) []string { return rec.Spec.Volumes() }, "")
}

// Undo implements api.Node.
func (n *Node) Undo(ctx context.Context, name keyway.Name) error {
	return n.removeWith(ctx, name, func(rec engine.Record) []string { return rec.Fresh }, keyway.NameTaken) // a volume that another uses by now
}

// removeWith removes a workspace and volumes of it. A volume that cannot be removed for the reason
// stays is no error.
func (n *Node) removeWith(ctx context.Context, name keyway.Name, volumes func(engine.Record) []string, stays keyway.Kind) error {
	e, err := n.find(ctx, name)
	if err != nil {
		return err
	}
	rec, err := n.homes.Known(name)
	if err != nil { // nothing is removed whose volumes would be forgotten
		return err
	}
	if err := e.Remove(ctx, name); err != nil {
		return err
	}
	keeper, ok := e.(engine.VolumeKeeper)
	if !ok {
		return nil
	}
	var errs []error
	for _, volume := range volumes(rec) {
		if err := keeper.RemoveVolume(ctx, volume); !keyway.Is(err, stays) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// keyBearer is an engine whose workspaces do not see their Homes at the place, so that the file of
// keys that may enter must be brought to them.
type keyBearer interface {
	BringKeys(ctx context.Context, name keyway.Name, file []byte) error
}

// Admit implements api.Node.
func (n *Node) Admit(ctx context.Context, name keyway.Name, keys []keyway.EntryKey) error {
	n.unused.take(name)
	e, err := n.find(ctx, name)
	if err != nil {
		return err
	}
	unlock, err := n.homes.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	file, err := n.homes.Admit(name, keys, time.Now())
	if err != nil {
		return err
	}
	if b, ok := e.(keyBearer); ok {
		return b.BringKeys(ctx, name, file)
	}
	return nil
}

func (n *Node) with(ctx context.Context, name keyway.Name, do func(engine.Engine, context.Context, keyway.Name) error) error {
	n.unused.take(name)
	e, err := n.find(ctx, name)
	if err != nil {
		return err
	}
	return do(e, ctx, name)
}

// Dial implements api.Node.
func (n *Node) Dial(ctx context.Context, name keyway.Name) (net.Conn, error) {
	n.unused.take(name)
	e, err := n.find(ctx, name)
	if err != nil {
		return nil, err
	}
	return e.Dial(ctx, name)
}

// unseen returns the workspaces of an engine that cannot be asked, from their Homes.
func (n *Node) unseen(engineName string, why *keyway.Error) []keyway.Workspace {
	names, err := n.homes.Names()
	if err != nil {
		return nil
	}
	var list []keyway.Workspace
	for _, name := range names {
		rec, err := n.homes.Record(name)
		s := rec.Spec
		if err != nil || s.Engine != engineName {
			continue
		}
		w := keyway.Workspace{
			Name: name, Engine: s.Engine, Image: s.Image, GPUs: s.GPUs, ForwardAgent: s.ForwardAgent, Origin: s.Origin,
			State: keyway.Unknown, Reason: why.Message, Sessions: -1,
		}
		w.Guest, _ = engine.Info(n.homes.Home(name))
		w.Guest.HostKey = rec.HostKey
		list = append(list, w)
	}
	return list
}

// elsewhere returns the workspaces of other machines that share the home directory. They have no
// Origin: nothing on this machine is made from that template.
func (n *Node) elsewhere() (list []keyway.Workspace) {
	records, err := n.homes.Elsewhere()
	if err != nil {
		return nil
	}
	for _, rec := range records {
		list = append(list, keyway.Workspace{
			Name: rec.Spec.Name, Engine: rec.Spec.Engine, Image: rec.Spec.Image, GPUs: rec.Spec.GPUs, Created: rec.Created,
			State: keyway.Elsewhere, Reason: "at " + rec.Machine.Host + ", which has the same home directory", Sessions: -1,
		})
	}
	return list
}

// unreadable returns the workspaces of which no engine knows, because their Records cannot be read.
func (n *Node) unreadable() (list []keyway.Workspace) {
	names, err := n.homes.Names()
	if err != nil {
		return nil
	}
	for _, name := range names {
		if _, err := n.homes.Known(name); err != nil && !keyway.Is(err, keyway.Unreachable) {
			list = append(list, keyway.Workspace{Name: name, State: keyway.Broken, Reason: keyway.AsError(err).Message, Sessions: -1})
		}
	}
	return list
}

// without returns list without the workspaces that are found already.
func without(list, found []keyway.Workspace) []keyway.Workspace {
	return slices.DeleteFunc(list, func(w keyway.Workspace) bool {
		return slices.ContainsFunc(found, func(f keyway.Workspace) bool { return f.Name == w.Name })
	})
}

// orphaned returns the workspaces of e of which only the Home is left: they were removed without
// keyway, or another daemon has them. They are not removed unasked: for workspaces of an older
// keyway, the daemon is unknown.
func (n *Node) orphaned(ctx context.Context, e engine.Engine, found []keyway.Workspace) []keyway.Workspace {
	list := without(n.unseen(e.Name(), &keyway.Error{}), found)
	// Workspaces that are being made or removed also have a Home without a container, but their
	// lock is held. One without a held lock is complete by now, or orphaned.
	list = slices.DeleteFunc(list, func(w keyway.Workspace) bool {
		unlock, err := n.homes.TryLock(w.Name)
		if err != nil {
			return true
		}
		defer unlock()
		_, err = n.homes.Spec(w.Name)
		return err != nil
	})
	if len(list) == 0 {
		return nil
	}
	again, err := e.List(ctx)
	if err != nil {
		return nil
	}
	list = without(list, again)
	here := identity(ctx, e)
	for i, w := range list {
		rec, err := n.homes.Record(w.Name)
		switch {
		case err == nil && rec.Daemon.IsOther(here):
			list[i].State, list[i].Reason = keyway.Elsewhere, "at another daemon, "+rec.Daemon.At
			continue
		case err == nil && rec.Daemon.ID != "" && here.ID == "":
			continue // it may belong to another daemon
		}
		list[i].State, list[i].Reason, list[i].Next = keyway.Broken, "its container was removed by other means", keyway.RemoveRest
		switch {
		case err != nil:
		case rec.HostKey != "" && rec.Container == "" && keyway.UsesImages(rec.Spec.Engine): // every engine with containers records it at creation
			list[i].Reason, list[i].Next = engine.HalfMade, keyway.FinishOrRemove
		case rec.Adopted:
			list[i].Reason = "the container that it was in is gone, or was made again"
		}
	}
	return list
}

// identity returns the identity of e's daemon; zero if unknown.
func identity(ctx context.Context, e engine.Engine) engine.Daemon {
	several, ok := e.(engine.Identified)
	if !ok {
		return engine.Daemon{}
	}
	here, err := several.Which(ctx)
	if err != nil {
		return engine.Daemon{}
	}
	return here
}
